"""The end of an attempt, the same for every carrier: write what it reported, then take its step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Sequence
from typing import Any

from executors.reports import Reports
from tasks.errors import JobgateError, StoreUnavailable
from tasks.job import ErrorCode, State
from tasks.repeated_warning import RepeatedWarning
from tasks.step import Failure, Step
from tasks.store.store import JobStore
from tasks.store.tallies import SUPERSEDED

log = logging.getLogger("jobgate.settling")

#: Seconds between two tries while the store is away.
PAUSE = 0.25


class Settling:
    """Settles steps; those that came too late are counted in the store. `patience`: seconds, see `hurry`."""

    def __init__(self, store: JobStore, reports: Reports, patience: float) -> None:
        self._store = store
        self._reports = reports
        self._patience = patience
        self._deadline = math.inf
        self._waiting = RepeatedWarning(log, "job %s: its outcome waits for the store: %s")
        self._open: set[asyncio.Future[Any]] = set()
        self._owed: set[tuple[str, int]] = set()

    def owes(self, job_id: str, attempt: int) -> bool:
        """Whether this attempt has ended here and the store has not confirmed it."""
        return (job_id, attempt) in self._owed

    def settle_soon(self, steps: Sequence[Step]) -> None:
        """`settle` for a carrier that does not wait. Without a task for each where the first try is enough."""
        ready = []
        for step in steps:
            self._owed.add((step.job_id, step.attempt))  # at once: a task of its own begins later
            if self._reports.pending(step.job_id, step.attempt):
                self._keep(asyncio.ensure_future(self.settle(step)))
            else:
                ready.append(step)
        if ready:
            settled = self._store.writer.settle(ready)
            settled.add_done_callback(lambda done: self._after_first_try(ready, done))
            self._keep(settled)

    def hurry(self) -> None:
        """The process is to end: what still waits for the store waits for `patience` seconds more."""
        self._deadline = min(self._deadline, asyncio.get_running_loop().time() + self._patience)

    async def close(self) -> None:
        """Return when everything that was to be settled soon is, or is given up. Goes on as before, if it is to."""
        self.hurry()
        while self._open:
            await asyncio.wait(self._open)
        self._deadline = math.inf

    async def settle(self, step: Step, patience: float = math.inf) -> State | None:
        """The state after the step, or None if the attempt had lost its job, or the store would not take the step.

        While the store is away it tries again, for `patience` seconds: the fence makes a late outcome as safe as one in
        time, so it is dropped only where the process must end.
        """
        self._owed.add((step.job_id, step.attempt))
        if self._reports.pending(step.job_id, step.attempt):
            await self._reports.flush()
        try:
            state = await self._persist(step, patience)
        except JobgateError as error:
            log.error("job %s: the outcome of attempt %d is given up: %s", step.job_id, step.attempt, error)  # noqa: TRY400  # no trace: it was logged before
            return None  # and it stays owed: its body began, so nobody may give it back as if it had not
        self._owed.discard((step.job_id, step.attempt))
        if state is None:
            log.warning("job %s: attempt %d had lost its lease; its outcome is refused", step.job_id, step.attempt)
            with contextlib.suppress(JobgateError):
                await self._store.run(SUPERSEDED)
        return state

    def _after_first_try(self, steps: Sequence[Step], done: asyncio.Future[list[State | None]]) -> None:
        states = [None] * len(steps) if done.exception() is not None else done.result()
        for step, state in zip(steps, states, strict=True):
            if state is not None:
                self._owed.discard((step.job_id, step.attempt))
            else:
                self._keep(asyncio.ensure_future(self.settle(step)))

    def _keep(self, settled: asyncio.Future[Any]) -> None:
        self._open.add(settled)
        settled.add_done_callback(self._open.discard)

    async def _persist(self, step: Step, patience: float) -> State | None:
        loop = asyncio.get_running_loop()
        deadline, waiting, refused = loop.time() + patience, False, False
        while True:
            try:
                return await self._store.settle(step)
            except StoreUnavailable as error:
                if loop.time() >= min(deadline, self._deadline):
                    raise
                if not waiting:
                    self._waiting.warn(step.job_id, error)
                waiting = True
                await asyncio.sleep(PAUSE)
            except JobgateError as error:  # the database refuses the values themselves: say so on the job, once
                if refused:
                    raise
                log.exception("job %s: the store refuses its outcome", step.job_id)
                step, refused = _refused(step, error), True


def _refused(step: Step, error: JobgateError) -> Step:
    words = f"the store refused the outcome: {error.detail[:500]}"
    failure = Failure(code=ErrorCode.RESULT_NOT_SERIALISABLE, message=words)
    return Step(
        name="fail", job_id=step.job_id, attempt=step.attempt, owner=step.owner, target=State.FAILURE, failure=failure
    )
