"""Keeps the attempts of this process: their leases, their time limits, the wish that they stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from executors.body_loops import AsyncSeat
from executors.runner import overran, strand
from tasks.context import Context
from tasks.errors import Cancelled, LeaseLost, SoftTimeLimitExceeded, StoreUnavailable
from tasks.job import Attempt
from tasks.repeated_warning import RepeatedWarning
from tasks.step import Step, interrupt, stop
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.keeper")

#: Seconds between two looks at the clock; a limit is kept to within this.
TICK = 0.05
#: Seconds between two looks at the clock after which the process counts as having stood still.
STALL = 1.0
#: Seconds between two looks whether a running job has been asked to stop by another process.
CANCEL_POLL = 0.5

Reason = type[Cancelled | LeaseLost | SoftTimeLimitExceeded]


class Claimer(Struct, frozen=True, kw_only=True):
    """Who claims, and on what terms. Durations are seconds."""

    owner: str
    mode: str
    lease: float
    grace: float

    @property
    def params(self) -> Mapping[str, Any]:
        """As the store's statements want it."""
        return {
            "owner": self.owner,
            "mode": self.mode,
            "lease": round(self.lease * 1000),
            "grace": round(self.grace * 1000),
        }


_RANK: dict[Reason, int] = {SoftTimeLimitExceeded: 0, Cancelled: 1, LeaseLost: 2}


def _not_yet(reason: Reason) -> None:
    """Interrupts a body that no thread has taken up: its context says so, and it will not start."""


class Running:
    """One attempt under way. `interrupt` raises a reason inside its body; `abandoned`: nobody waits for it any more.

    `seat` is that of an async body, which shares its loop with others.
    """

    __slots__ = (
        "abandoned",
        "attempt",
        "context",
        "interrupt",
        "reason",
        "renewed_at",
        "seat",
        "started_at",
        "stopped_at",
    )

    def __init__(
        self,
        attempt: Attempt,
        context: Context,
        interrupt: Callable[[Reason], None] = _not_yet,
        seat: AsyncSeat | None = None,
    ) -> None:
        self.attempt = attempt
        self.context = context
        self.interrupt = interrupt
        self.seat = seat
        self.abandoned = False
        self.started_at = self.renewed_at = time.monotonic()
        self.stopped_at: float | None = None
        self.reason: Reason | None = None

    def stop(self, reason: Reason) -> None:
        """Tell the task, once a reason; a cancel outranks the soft limit, and a lost lease both."""
        if self.reason is not None and _RANK[reason] <= _RANK[self.reason]:
            return
        self.reason = reason
        if reason is not SoftTimeLimitExceeded and self.stopped_at is None:
            self.stopped_at = time.monotonic()
        # In this order: a body that learned it from `check()` first would be interrupted again while it cleans up.
        self.interrupt(reason)
        self.context.stop(reason)


class Keeper:
    """One per process, on the loop of its store.

    `give_up` is called with an attempt that passed its hard limit or ignored a cancel for the whole grace, and with
    the step that its job takes therefore. `look` watches the loops of async bodies, see `body_loops`.
    """

    def __init__(
        self,
        store: JobStore,
        claimer: Claimer,
        give_up: Callable[[Running, Step], None],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._claimer = claimer
        self._give_up = give_up
        self._look = look
        self._running: dict[tuple[str, int], Running] = {}
        self._task: asyncio.Task[None] | None = None
        self._talk: asyncio.Task[None] | None = None
        self._unrenewed = RepeatedWarning(log, "leases cannot be renewed now: %s")
        self._polled_at = 0.0
        self._patient_until = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._running)

    def runs(self, job_id: str, attempt: int) -> bool:
        return (job_id, attempt) in self._running

    def all(self) -> list[Running]:
        return list(self._running.values())

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="jobgate-keeper")

    async def stop(self) -> None:
        for task in filter(None, (self._task, self._talk)):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def begin(self, running: Running) -> None:
        self._running[running.attempt.id, running.attempt.attempt] = running
        self._idle.clear()

    def forget(self, job_id: str, attempt: int) -> Running | None:
        """The attempt has ended; None if it was given up before."""
        running = self._running.pop((job_id, attempt), None)
        if not self._running:
            self._idle.set()
        return running

    async def idle(self) -> None:
        """Return when nothing runs."""
        await self._idle.wait()

    def cancel(self, job_id: str) -> None:
        """Tell the job's attempt to stop, if it runs here."""
        for (running_id, _), running in list(self._running.items()):
            if running_id == job_id and running.stopped_at is None:
                running.stop(Cancelled)

    async def _run(self) -> None:
        looked_at = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if now - looked_at > max(STALL, self._claimer.lease / 3):
                # The process or this loop stood still: leases that ran out may still be ours, so renewing them is tried
                # before their bodies are stopped.
                self._patient_until = now + self._claimer.lease / 3
            looked_at = now
            try:
                self._look()  # first: a limit is no fault of a body that another one keeps from running
                for running in self.all():
                    self._check(running, now)
            except Exception:  # without this loop no lease is renewed and no limit is kept
                log.exception("the keeper stumbled; it goes on")
            # Beside the looks, not between them: limits and leases end on time while the store is silent.
            if self._running and (self._talk is None or self._talk.done()):
                self._talk = asyncio.create_task(self._talk_to_store(now), name="jobgate-keeper-store")

    async def _talk_to_store(self, now: float) -> None:
        try:
            await self._renew(now)
            await self._poll_cancels(now)
        except StoreUnavailable as error:
            self._unrenewed.warn(error)
        except Exception:
            log.exception("the keeper stumbled; it goes on")

    def _check(self, running: Running, now: float) -> None:
        attempt, age, seat = running.attempt, now - running.started_at, running.seat
        used = age if seat is None else age - seat.stalled
        limit = math.inf if attempt.time_limit is None else attempt.time_limit
        if used >= limit:
            self._give_up(running, overran(attempt))
        elif seat is not None and (age >= limit or (seat.stranded and attempt.max_losses)):
            self._give_up(running, strand(attempt, seat.begun))
        elif running.stopped_at is not None and now - running.stopped_at >= self._claimer.grace:
            # A lost lease is nobody's wish: if the job is still ours after all, it goes back to wait.
            self._give_up(running, interrupt(attempt) if running.reason is LeaseLost else stop(attempt, age))
        elif now - running.renewed_at > self._claimer.lease and now > self._patient_until:
            running.stop(LeaseLost)
        elif attempt.soft_time_limit is not None and used >= attempt.soft_time_limit:
            if not running.context.cancelled:
                running.stop(SoftTimeLimitExceeded)

    async def _renew(self, now: float) -> None:
        due = [running for running in self.all() if now - running.renewed_at >= self._claimer.lease / 3]
        if not due:
            return
        wanted = [(running.attempt.id, running.attempt.attempt) for running in due]
        held = await self._store.renew(wanted, self._claimer.params)
        for running in due:
            if running.attempt.id not in held:
                running.stop(LeaseLost)
            else:
                running.renewed_at = now
                if held[running.attempt.id] and running.stopped_at is None:
                    running.stop(Cancelled)

    async def _poll_cancels(self, now: float) -> None:
        if now - self._polled_at < CANCEL_POLL or not any(now - r.started_at > CANCEL_POLL for r in self.all()):
            return
        self._polled_at = now
        for job_id in await self._store.cancelled(self._claimer.owner):
            self.cancel(job_id)
