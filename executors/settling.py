"""The end of an attempt, the same for every carrier: write what it reported, then take its step."""

from __future__ import annotations

import asyncio
import logging

from executors.reports import Reports
from tasks.errors import JobgateError, StoreUnavailable
from tasks.job import ErrorCode, State
from tasks.step import Failure, Step
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.settling")

#: Seconds between two tries while the store is away; the lease decides how long trying makes sense.
PAUSE = 0.25


class Settling:
    """Settles steps; counts those that came too late in `superseded`."""

    def __init__(self, store: JobStore, reports: Reports, patience: float) -> None:
        self._store = store
        self._reports = reports
        self._patience = patience
        self.superseded = 0

    async def settle(self, step: Step) -> State | None:
        """The state after the step, or None if the attempt had lost its job. Tries while the lease may last."""
        if self._reports.pending(step.job_id, step.attempt):
            await self._reports.flush()
        state = await self._persist(step)
        if state is None:
            self.superseded += 1
            log.warning("job %s: attempt %d had lost its lease; its outcome is refused", step.job_id, step.attempt)
        return state

    async def _persist(self, step: Step) -> State | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while loop.time() < deadline:
            try:
                return await self._store.settle(step)
            except StoreUnavailable as error:
                log.warning("job %s: its outcome waits for the store: %s", step.job_id, error)
                await asyncio.sleep(PAUSE)
            except JobgateError as error:  # the database refuses the values themselves: say so on the job
                log.exception("job %s: the store refuses its outcome", step.job_id)
                step = _refused(step, error)
        return None


def _refused(step: Step, error: JobgateError) -> Step:
    words = f"the store refused the outcome: {error.detail[:500]}"
    failure = Failure(code=ErrorCode.RESULT_NOT_SERIALISABLE, message=words)
    return Step(
        name="fail", job_id=step.job_id, attempt=step.attempt, owner=step.owner, target=State.FAILURE, failure=failure
    )
