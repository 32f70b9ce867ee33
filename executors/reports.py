"""Progress and log lines of running jobs, gathered and written a few times a second."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from tasks.errors import JobgateError
from tasks.job import Attempt
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.reports")

#: Seconds between two writes; of several progress reports of a job the last counts.
PAUSE = 0.2
#: Log lines kept while the store cannot be written; the oldest are dropped beyond that.
KEPT_LINES = 10_000


class Reports:
    """One per process, on the loop of its store; tasks report from any thread."""

    def __init__(self, store: JobStore, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._progress: dict[tuple[str, int], str] = {}
        self._lines: deque[tuple[str, int, str, str]] = deque(maxlen=KEPT_LINES)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Task[None] | None = None

    def reporter(self, attempt: Attempt) -> Callable[..., None]:
        """What a Context of this attempt reports to."""
        return partial(self._take, attempt.id, attempt.attempt)

    async def flush(self) -> None:
        """Write what has gathered."""
        progress, self._progress = self._progress, {}
        lines, self._lines = self._lines, deque(maxlen=KEPT_LINES)
        try:
            await self._store.report(self._owner, [(*key, json) for key, json in progress.copy().items()], list(lines))
        except JobgateError as error:
            log.warning("progress and log lines are kept back: %s", error)
            self._progress = progress | self._progress
            self._lines.extendleft(reversed(lines))

    def pending(self, job_id: str, attempt: int) -> bool:
        """Whether something of this attempt has not been written: flush before it is settled."""
        if not self._progress and not self._lines:
            return False
        return (job_id, attempt) in self._progress or any(line[:2] == (job_id, attempt) for line in self._lines.copy())

    def _take(self, job_id: str, attempt: int, kind: str, *words: str) -> None:
        if kind == "progress":
            self._progress[job_id, attempt] = words[0]
        else:
            self._lines.append((job_id, attempt, words[0], words[1]))
        self._loop.call_soon_threadsafe(self._schedule)

    def _schedule(self) -> None:
        if self._timer is None or self._timer.done():
            self._timer = self._loop.create_task(self._later())

    async def _later(self) -> None:
        await asyncio.sleep(PAUSE)
        await self.flush()
