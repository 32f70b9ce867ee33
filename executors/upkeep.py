"""What any process may do for the record, as often as it likes: stage, expire, reap, forget."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from executors.identity import is_dead
from executors.retention import Retention
from tasks.errors import JobgateError
from tasks.store import audit, bulks, commands, limits, queues, upkeep, workers
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.upkeep")

#: Rows that one statement of upkeep touches at most, so that it never holds up anybody's commit for long.
CHUNK = 1_000
#: Seconds between looks for delayed jobs: an eta is kept to within this, and never early.
STAGE_PAUSE = 0.2
REAP_PAUSE = 0.5
SWEEP_PAUSE = 1.0
#: Seconds by which a duty is late when the process or its loop stood still.
STALL = 0.5
#: Seconds between two repairs of limits.
PROMOTE_PAUSE = 2.0
#: Longer than a worker needs to start again.
WATCH_PAUSE = 20.0
#: Seconds after which a carrier without a sign of life is struck off the registry.
WORKER_MEMORY = 3600.0
#: Seconds that the audit trail and ended bulk actions are kept: ninety days.
TRAIL_MEMORY = 90 * 86_400.0

#: Does something once; seconds until it is to be done again.
Duty = Callable[[], Awaitable[float]]


class Upkeep:
    """Leaderless: each duty is a conditional update, so any number of processes may run them at once. `more` are duties
    beyond its own."""

    def __init__(self, store: JobStore, result_expires: float, job_retention: float, *more: Duty) -> None:
        self._store = store
        self._more = more
        store.tallies.forget_after(round(job_retention * 1000))
        self._retention = Retention(store, round(result_expires * 1000), round(job_retention * 1000))
        #: Queues that nobody served at the last look, and those that the log was told of.
        self._unserved: set[str] = set()
        self._told: set[str] = set()
        #: The limit up to which `promote` has come.
        self._behind: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        beats: list[tuple[Duty, str]] = [
            (self.stage, "stage"),
            (self.reap, "reap"),
            (self._retention.results, "results"),
            (self._retention.jobs, "retention"),
            (self.promote, "promote"),
            (self.forget, "forget"),
            (self.tally, "tally"),
            (self.watch_queues, "watch-queues"),
            *((duty, "duty") for duty in self._more),
        ]
        self._tasks = [asyncio.create_task(self._beat(duty), name=f"jobgate-{name}") for duty, name in beats]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stage(self) -> float:
        """Make the delayed jobs that have come due ready; seconds until the next look."""
        wait = await self._store.next_due()
        if wait is None or wait > 0:
            return STAGE_PAUSE if wait is None else min(wait + 0.001, STAGE_PAUSE)
        staged = await self._store.run(upkeep.STAGE, n=CHUNK)
        self._store.room_freed(name for _, name in staged)
        self._store.writer.woken()
        return 0.0 if staged else STAGE_PAUSE

    async def reap(self) -> float:
        """End or requeue the attempts whose lease has run out, and revoke the jobs that expired before they started."""
        dead = [owner for owner in await self._store.owners() if is_dead(owner)]
        if dead:
            await self._store.abandon(dead)
            for owner in dead:
                await self._store.gone(owner)
        for job_id, _, status, code, owner, limit in await self._store.run(upkeep.REAP, n=CHUNK):
            log.warning("job %s: attempt of %s reaped (%s), now %s", job_id, owner, code, status)
            self._store.room_freed([limit])
            self._store.writer.woken()
        expired = await self._store.run(upkeep.EXPIRE, n=CHUNK)
        self._store.room_freed(name for _, name in expired)
        return REAP_PAUSE

    async def promote(self) -> float:
        """Repairs limits: a process that died after it freed one may have left jobs behind it although it has room."""
        self._behind = await self._store.repair_limits(self._behind or "", CHUNK)
        return PROMOTE_PAUSE

    async def forget(self) -> float:
        """What is not about jobs has its time too."""
        for forget in (workers.FORGET_WORKERS, commands.FORGET):
            await self._store.run(forget, age=round(WORKER_MEMORY * 1000))
        for forget in (audit.FORGET, bulks.FORGET):
            await self._store.run(forget, age=round(TRAIL_MEMORY * 1000))
        await self._store.run(limits.FORGET_KEYS, age=round(WORKER_MEMORY * 1000))
        await self._store.run(queues.FORGET_PAUSES)
        return SWEEP_PAUSE * 10

    async def tally(self) -> float:
        """Fold new events into the counters."""
        await self._store.tallies.fold()
        return SWEEP_PAUSE

    async def watch_queues(self) -> float:
        """Warn of queues with due jobs and nobody who takes them, once they were so at two looks."""
        found = set(await self._store.unserved())
        self._told &= found
        for queue in sorted(found & self._unserved - self._told):
            log.warning("jobs are due in queue %s, and no live worker serves it: add it to JOBGATE_QUEUES", queue)
        self._told |= found & self._unserved
        self._unserved = found
        return WATCH_PAUSE

    async def _beat(self, duty: Duty) -> None:
        while True:
            try:
                pause = await duty()
            except JobgateError as error:
                log.warning("upkeep waits for the store: %s", error)
                pause = SWEEP_PAUSE
            except Exception:  # one bad tick must not end a duty for the life of the process
                log.exception("upkeep failed; it goes on")
                pause = SWEEP_PAUSE
            slept_at = time.monotonic()
            await asyncio.sleep(pause)
            if time.monotonic() - slept_at > pause + STALL:
                await asyncio.sleep(STALL)  # the keeper of this process renews its leases before they are reaped
