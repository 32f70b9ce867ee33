"""Progress and log lines of running jobs, gathered and written a few times a second."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from threading import Lock

from tasks.errors import JobgateError
from tasks.job import Attempt
from tasks.repeated_warning import RepeatedWarning
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.reports")

#: Seconds between two writes; of several progress reports of a job the last counts.
PAUSE = 0.2
#: Log lines that wait for the store. A task that writes faster, or while the store is away, loses those beyond that,
#: and the job's log says how many.
KEPT_LINES = 20_000


class Reports:
    """One per process, on the loop of its store; tasks report from any thread."""

    def __init__(self, store: JobStore, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._progress: dict[tuple[str, int], str] = {}
        self._lines: deque[tuple[str, int, str, str]] = deque()
        self._dropped: Counter[tuple[str, int]] = Counter()
        self._counting = Lock()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Task[None] | None = None
        self._kept_back = RepeatedWarning(log, "progress and log lines are kept back: %s")

    def reporter(self, attempt: Attempt) -> Callable[..., None]:
        """What a Context of this attempt reports to."""
        return partial(self._take, attempt.id, attempt.attempt)

    async def flush(self) -> None:
        """Write what has gathered."""
        progress, self._progress = self._progress, {}
        lines, self._lines = self._lines, deque()
        with self._counting:
            dropped, self._dropped = self._dropped, Counter()
        told = [(*attempt, "warning", _gap(count)) for attempt, count in dropped.items()]
        try:
            rows = [(*key, json) for key, json in progress.copy().items()]
            await self._store.report(self._owner, rows, [*lines, *told])
        except JobgateError as error:
            self._kept_back.warn(error)
            self._progress = progress | self._progress
            self._lines.extendleft(reversed(lines))
            with self._counting:
                self._dropped += dropped

    def pending(self, job_id: str, attempt: int) -> bool:
        """Whether something of this attempt has not been written: flush before it is settled."""
        key = job_id, attempt
        if key in self._progress or key in self._dropped:
            return True
        return any(line[:2] == key for line in self._lines.copy())

    def _take(self, job_id: str, attempt: int, kind: str, *words: str) -> None:
        if kind == "progress":
            self._progress[job_id, attempt] = words[0]
        elif len(self._lines) < KEPT_LINES:
            self._lines.append((job_id, attempt, words[0], words[1]))
        else:
            with self._counting:
                self._dropped[job_id, attempt] += 1
        self._loop.call_soon_threadsafe(self._schedule)

    def _schedule(self) -> None:
        if self._timer is None or self._timer.done():
            self._timer = self._loop.create_task(self._later())

    async def _later(self) -> None:
        await asyncio.sleep(PAUSE)
        await self.flush()


def _gap(count: int) -> str:
    return f"{count:,} log lines were dropped: they came faster than the store takes them"
