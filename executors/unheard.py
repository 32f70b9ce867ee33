"""Claims whose commit was not heard: the job is ours in the store, and nobody here runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from executors.keeper import Claimer
from tasks.errors import JobgateError, StoreUnavailable
from tasks.job import Attempt
from tasks.step import interrupt
from tasks.store import statements
from tasks.store.store import JobStore
from tasks.store.writer import to_attempt

log = logging.getLogger("jobgate.unheard")

#: Seconds between two looks while a commit may still arrive.
PAUSE = 0.5


class Unheard:
    """One per process, on the loop of its store. Gives back what was claimed without our hearing of it.

    The body never began, so no budget is used. `known(attempt)`: whether this process claims, runs or settles it; what
    is neither was claimed by a transaction whose answer was lost.
    """

    def __init__(self, store: JobStore, claimer: Claimer, known: Callable[[Attempt], bool]) -> None:
        self._store = store
        self._claimer = claimer
        self._known = known
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def doubt(self) -> None:
        """A claim failed, and its transaction may have been committed, or may yet be."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + self._claimer.lease
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(), name="jobgate-unheard")

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            with contextlib.suppress(JobgateError):
                await self._look()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self._until:
            try:
                await self._look()
            except StoreUnavailable:
                self._until = loop.time() + self._claimer.lease
            except Exception:  # whatever it is, the reaper comes to these jobs in the end
                log.exception("claims that were not heard could not be looked for; the next look follows")
            await asyncio.sleep(PAUSE)

    async def _look(self) -> None:
        # By the writing connection: whatever it committed before this statement has been answered by then.
        for row in await self._store.run(statements.HELD_BY, owner=self._claimer.owner):
            attempt = to_attempt(row)
            if not self._known(attempt) and await self._store.settle(interrupt(attempt)) is not None:
                log.warning("job %s: the answer to its claim was lost; it is given back, no body began", attempt.id)
