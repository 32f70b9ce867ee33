"""Waiting for jobs to end: told at once of those this process ends, and looking after the others."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time

from tasks.errors import JobgateError
from tasks.store.store import JobStore

#: The look-out's pause is a tenth of how long its youngest waiter has waited, within these bounds in seconds:
#: so waiting adds a tenth to a job's time at most, and a long job is not asked after a thousand times a second.
LONGEST_PAUSE = 0.1


class Watch:
    """Shared by everybody in the process who waits for a job."""

    def __init__(self, store: JobStore, shortest_pause: float) -> None:
        self._store = store
        self._shortest_pause = shortest_pause
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._youngest = 0.0
        self._lookout: asyncio.Task[None] | None = None
        store.writer.on_ended.append(self._tell)

    async def wait(self, job_id: str, timeout: float | None) -> None:
        """Return when the job has ended or `timeout` seconds have passed."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, []).append(ended)
        self._youngest = time.monotonic()
        if self._lookout is None or self._lookout.done():
            self._lookout = asyncio.create_task(self._look(), name="jobgate-watch")
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended, None if timeout is None or timeout == math.inf else timeout)
        finally:
            self._forget(job_id, ended)

    async def stop(self) -> None:
        """End the look-out, which would still be pausing when its loop is stopped: asyncio warns of such tasks."""
        if self._lookout is not None:
            self._lookout.cancel()
            await asyncio.wait([self._lookout])

    async def _look(self) -> None:
        # First a pause: whoever waits has just written the job, or read it and seen it open.
        while await self._pause():
            with contextlib.suppress(JobgateError):  # the next look may find it back
                self._tell(await self._store.final(list(self._waiters)))

    async def _pause(self) -> bool:
        """Whether somebody still waits after it."""
        waited = time.monotonic() - self._youngest
        await asyncio.sleep(min(LONGEST_PAUSE, max(self._shortest_pause, waited / 10)))
        return bool(self._waiters)

    def _tell(self, job_ids: list[str]) -> None:
        for job_id in job_ids if self._waiters else ():
            for ended in self._waiters.get(job_id, ()):
                if not ended.done():
                    ended.set_result(None)

    def _forget(self, job_id: str, ended: asyncio.Future[None]) -> None:
        waiting = self._waiters.get(job_id, [])
        waiting.remove(ended)
        if not waiting:
            self._waiters.pop(job_id, None)
