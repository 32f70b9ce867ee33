"""Carries jobs to Celery workers: the relay rings for due jobs, within a credit, and again on evidence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from executors.base import Capabilities, Health, Patience, Standing, Trouble
from executors.celery_doorbell import CANARY, UNKNOWN, Doorbell, Ring, canary_queue
from executors.ears import Ears
from executors.strangers import Strangers
from tasks.admission import new_id
from tasks.errors import JobgateError
from tasks.job import Job, Mode
from tasks.repeated_warning import RepeatedWarning
from tasks.store import rings, statements
from tasks.store.backend import Item, Query, Rows
from tasks.store.store import JobStore
from tasks.worker import Worker

log = logging.getLogger("jobgate.relay")

#: Seconds between two looks of the relay while jobs wait or rings are out, and while there is nothing to do.
BUSY_PAUSE = 0.01
IDLE_PAUSE = 0.2
#: Seconds between two readings of the worker registry, and between two looks at the broker.
WORKERS_PAUSE = 0.25
BROKER_PAUSE = 0.5
#: A worker that heard nothing for so many seconds is sent a canary. While others stand in for Celery it is sent sooner,
#: and not waited for so long: a verdict too early costs the worker a new connection, and nobody a job.
CANARY_PAUSE = 3.0
EAGER_CANARY_PAUSE = 0.5
EAGER_PATIENCE = 2.5
#: Seconds between two looks while jobs wait behind limits: the shortest, and the longest when none was let through for
#: so many times as long.
LIMITED_PAUSE = 0.003
LONG_LIMITED_PAUSE = 0.02
LIMITED_CALM = 50
#: Candidates of a rate limit that one look asks for.
PROMOTED = 8
#: A ring unanswered for so many seconds while a slot is idle has been lost.
LOST_AFTER = 2.0
#: The same while messages lie in its queue that no worker has fetched: it may be one of them.
LOST_SURELY = 15.0
LOST_PAUSE = 0.5
#: Messages out for each slot at least, and at most. Each is served before a more urgent job that comes later.
LEAST_OUT = 2
MOST_OUT = 64
#: Messages out for each one that was answered between two looks: more, so that no slot waits for the next look.
SURPLUS = 1.25
#: How much of the pace is left after a look in which fewer messages were answered.
PACE_DECAY = 0.7


class CeleryExecutor:
    """The relay. It hangs on the store's writer: the transaction that accepts jobs marks those to ring for as well."""

    busy = 0

    def __init__(
        self,
        store: JobStore,
        broker_url: str,
        queues: Sequence[Sequence[str]],
        patience: Patience,
        strangers: Strangers,
    ) -> None:
        self._store = store
        self._patience = patience
        self._ears = Ears(patience.life, time.monotonic())
        #: The workers that do not consume: instance and name.
        self._deaf: dict[str, str] = {}
        self._carrying = True
        self._queues = [queue for group in queues for queue in group]
        self._level = {queue: level for level, group in enumerate(queues) for queue in group}
        self._order = [list(group) for group in queues]
        self._strangers = strangers
        self._credit = dict.fromkeys(self._queues, 0)
        #: Messages that are out as far as is known, and how many were answered between two looks of late.
        self._out = 0
        self._pace = 0.0
        self._workers: Sequence[Worker] = []
        self._serving: dict[str, tuple[int, ...]] = {}
        self._known: set[str] = set()
        self._unread = RepeatedWarning(log, "the relay waits for the store: %s")
        self._workers_at = self._broker_at = self._rung_at = self._lost_at = 0.0
        self._backlog = True
        self._doorbell = Doorbell(broker_url, self._rings_lost)
        self._again = self._canaries_lost = False
        self._wake = asyncio.Event()
        # Python 3.11 forgets a cancel that meets the wake-up, and this loop would never end.
        self._ended = False

    @property
    def capabilities(self) -> Capabilities:
        """Those of the least able live worker: only a prefork child can be killed to end its body."""
        reach = "process" if all(worker.pool == "prefork" for worker in self._workers) else "interrupt"
        return Capabilities(stop_running_sync=reach, stop_running_async=reach, hard_limit=reach, remote_workers=True)

    async def start(self) -> None:
        self._doorbell.start()
        self._store.writer.takers.append(self)
        self._task = asyncio.create_task(self._run(), name="jobgate-relay")

    def drain(self) -> None:
        """Nothing to do: a ring begins nothing here, and workers wait for it."""

    def hurry(self) -> None:
        """Nothing to do: no job runs here."""

    async def stop(self, grace: float) -> None:
        self._credit = dict.fromkeys(self._queues, 0)
        self._ended = True
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await asyncio.to_thread(self._doorbell.stop)

    def cancel_soon(self, job: Job) -> None:
        """Nothing to do: the worker that runs it looks at the row."""

    async def health(self) -> Health:
        if self._doorbell.error is not None:
            detail = "the broker is away; the log has its words"
            return Health(ok=False, detail=detail, away_since=self._doorbell.away_since)
        slots = sum(worker.slots for worker in self._workers)
        deaf = f"; {len(self._deaf)} deaf: {', '.join(sorted(self._deaf.values()))}" if self._deaf else ""
        words = f"the broker answers; {slots} slots on {len(self._workers)} live workers{deaf}"
        return Health(ok=slots > 0 and not deaf, detail=words)

    @property
    def standing(self) -> Standing:
        return Standing(setting="celery", mode=Mode.CELERY, broker_up=not self._broker_silent)

    @property
    def _broker_silent(self) -> bool:
        return self._doorbell.silence(time.monotonic()) >= self._patience.broker

    @property
    def trouble(self) -> Trouble | None:
        """Why no job gets to a worker now, if none does."""
        now = time.monotonic()
        if self._broker_silent:
            return Trouble(
                code="broker", detail=f"the broker does not answer: {self._doorbell.error or 'it is silent'}"
            )
        if self._workers or self._ears.settling(now):
            return None
        if self._deaf:
            return Trouble(code="deaf", detail=f"{', '.join(sorted(self._deaf.values()))} lives, but does not consume")
        return Trouble(code="workers", detail="no Celery worker shows life")

    @property
    def answers(self) -> int:
        """How often a worker was found to have heard something new."""
        return self._ears.answers

    def ring_on(self, carrying: bool) -> None:
        """Begin or cease to ring for jobs; canaries go on. What was rung before a pause is rung again after it."""
        self._carrying = carrying
        self._again = self._again or carrying
        self._wake.set()

    def wanted(self, accepting: bool) -> Sequence[Item]:
        credit = sum(self._credit.values())
        if credit <= 0 or not (accepting or self._backlog):
            return ()
        return rings.program(self._order, dict(self._credit), self._strangers.skipped)

    def taken(self, answers: Sequence[Rows] | None) -> None:
        rows = answers[-1] if answers else []
        if rows:
            self._rung_at = time.monotonic()
            self._ring(rows)
        self._backlog = bool(rows)
        self._wake.set()

    def _ring(self, rows: Rows) -> None:
        # Two groups of workers may share queues; what is rung for one queue is taken from the credit of all.
        for queue in self._credit:
            self._credit[queue] = max(0, self._credit[queue] - len(rows))
        self._publish(rows)

    def _publish(self, rows: Rows) -> None:
        """A task that no live worker knows would be dropped at the worker's door: wait for one that does, and when
        nobody has come, ring so that its job says so."""
        known, level = self._known, self._level
        strange = {task for _, task, _, _ in rows if task not in known and self._strangers.meet(task)}
        if strange:
            self._take_back([row for row in rows if row[1] in strange])
            rows = [row for row in rows if row[1] not in strange]
        ordered = sorted(rows, key=lambda row: (level[row[2]], row[3]))
        self._out += len(rows)
        self._doorbell.ring(
            [Ring(job, task if task in known else UNKNOWN, queue, level[queue]) for job, task, queue, _ in ordered]
        )

    def _take_back(self, rows: Rows) -> None:
        taken = self._store.writer.run(Query(rings.UNRING, rows=[[row[0]] for row in rows]))
        taken.add_done_callback(lambda done: done.exception())  # if it fails, they are taken back as lost rings

    def _rings_lost(self) -> None:
        """From the doorbell's thread: ring for all again once the broker is back."""
        self._again = self._canaries_lost = True

    async def _run(self) -> None:
        pause = 0.0
        while not self._ended:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
            self._wake.clear()
            pause = IDLE_PAUSE
            try:
                pause = await self._look()
                await asyncio.sleep(min(pause, LIMITED_PAUSE))
            except JobgateError as error:
                self._unread.warn(error)
            except Exception:  # without this loop nobody is rung for
                log.exception("the relay stumbled; it goes on")

    async def _look(self) -> float:
        """One look at workers, rings and backlog; seconds until the next."""
        now = time.monotonic()
        await self._see_workers(now)
        if not self._broker_is_there(now) or not self._carrying:
            self._credit = dict.fromkeys(self._queues, 0)
            return IDLE_PAUSE
        rung = await self._store.rung()
        await self._ring_again(rung, now)
        self._grant(rung)
        self._backlog = await self._store.has_ready(self._queues, statements.UNRUNG, self._strangers.skipped)
        if self._backlog and any(self._credit.values()):
            self._store.writer.nudge()
        pause = BUSY_PAUSE if rung or self._backlog else IDLE_PAUSE
        return min(pause, await self._see_limits(now))

    async def _see_workers(self, now: float) -> None:
        if now - self._workers_at >= WORKERS_PAUSE:
            self._workers_at = now
            found = [worker for worker in await self._store.workers() if worker.mode == Mode.CELERY]
            # A worker drains as a whole: one of its processes may say so later than the others.
            draining = {worker.instance for worker in found if worker.draining}
            self._ears.read([worker for worker in found if worker.instance not in draining], time.monotonic())
            await self._call_deaf(now, draining)
            self._workers = [worker for worker in self._ears.live if worker.instance not in self._deaf]
            self._serving = _serving(self._workers)
            self._known = {task for worker in self._workers for task in worker.tasks}
            self._strangers.forget(self._known)
            self._release_canaries(now)

    async def _call_deaf(self, now: float, draining: set[str]) -> None:
        """Marks the workers that do not consume: each reads the mark in the registry and acts on it.

        The mark of a worker that drains stays: its children kill a parent that hangs, and they need the mark for it.
        """
        patience = self._patience.canary
        deaf = self._ears.deaf(patience if self._carrying else min(patience, EAGER_PATIENCE), now)
        for instance in sorted(deaf.keys() - self._deaf.keys()):
            log.warning("relay: worker %s lives, but does not consume: no messages until it answers", deaf[instance])
            await self._store.call_deaf(instance)
        for instance in sorted(self._deaf.keys() - deaf.keys() - draining):
            log.warning("relay: worker %s consumes again, or is gone", self._deaf[instance])
            await self._store.call_deaf(instance, deaf=False)
        self._deaf = {instance: name for instance, name in self._deaf.items() if instance in draining} | deaf

    def _release_canaries(self, now: float) -> None:
        if self._doorbell.error is not None or self._canaries_lost:
            self._canaries_lost = False
            self._ears.forgive(now)
            return
        silence = CANARY_PAUSE if self._carrying else EAGER_CANARY_PAUSE
        if instances := self._ears.unheard(silence, now):
            self._doorbell.ring([Ring(new_id(), CANARY, canary_queue(instance)) for instance in instances])

    def _broker_is_there(self, now: float) -> bool:
        if now - self._broker_at >= BROKER_PAUSE:
            self._broker_at = now
            self._doorbell.ring([])
        return self._doorbell.error is None

    async def _ring_again(self, rung: dict[str, int], now: float) -> None:
        """Rings that failed, and old ones of a queue that an idle slot serves, count as lost.

        Not while it may still lie at the broker: to ring again would make the line longer, and the longer it is the
        longer each job waits for its ring.
        """
        if self._again:
            self._again = False
            if rung:
                await self._store.run(rings.RERING, rows=[[queue] for queue in rung], age=0)
        elif rung and now - self._lost_at >= LOST_PAUSE:
            self._lost_at = now
            idle = {name for worker in self._workers if worker.busy < worker.slots for name in worker.queues}
            self._doorbell.doubtful = sorted(idle & rung.keys())
            for queue in self._doorbell.doubtful:
                age = LOST_AFTER if queue in self._doorbell.emptied else LOST_SURELY
                await self._store.run(rings.RERING, rows=[[queue]], age=round(age * 1000))

    def _grant(self, rung: dict[str, int]) -> None:
        """A queue may have two messages out for each slot that serves it, more while they are answered quickly."""
        each = self._out_per_slot(sum(rung.values()))
        credit = {serving: self._credit_of(serving, each, rung) for serving in set(self._serving.values())}
        self._credit = {
            queue: credit[serving] if (serving := self._serving.get(queue)) else 0 for queue in self._queues
        }

    def _credit_of(self, serving: tuple[int, ...], each: float, rung: dict[str, int]) -> int:
        """What the queues that are served by these workers may have out together."""
        workers = [self._workers[n] for n in serving]
        reach = {name for worker in workers for name in worker.queues}
        slots = sum(worker.slots for worker in workers)
        return max(0, round(slots * each) - sum(number for queue, number in rung.items() if queue in reach))

    def _out_per_slot(self, out: int) -> float:
        """How many messages may be out for each slot: as many as are answered until the next look, judged by the last.

        It shrinks within a few looks when jobs become longer: what is out is served before a more urgent job.
        """
        slots = max(1, sum(worker.slots for worker in self._workers))
        starved = self._backlog and out < slots
        answered = (self._out - out) * (2 if starved else 1)
        self._out = out
        self._pace = max(answered, self._pace * PACE_DECAY)
        return min(MOST_OUT, max(LEAST_OUT, self._pace * SURPLUS / slots))

    async def _see_limits(self, now: float) -> float:
        """Promotes for the rates that let a job start now; seconds until the next look for the sake of limits.

        A worker process that frees a limit tells nobody: the relay finds the next candidate by looking.
        """
        if not await self._store.limits_awaited():
            return IDLE_PAUSE
        starts = await self._store.next_starts()
        self._store.writer.promote({name: PROMOTED for name, wait in starts if wait <= 0})
        calm = (now - self._rung_at) / LIMITED_CALM
        pause = max(LIMITED_PAUSE, min(calm, LONG_LIMITED_PAUSE))
        return min([pause, *(wait for _, wait in starts if wait > 0)])


def _serving(workers: Sequence[Worker]) -> dict[str, tuple[int, ...]]:
    """Which of the workers, by number, serve each queue. Thousands of queues have few different answers."""
    found: dict[str, list[int]] = {}
    for number, worker in enumerate(workers):
        for queue in worker.queues:
            found.setdefault(queue, []).append(number)
    return {queue: tuple(numbers) for queue, numbers in found.items()}
