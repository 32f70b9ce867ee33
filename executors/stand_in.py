"""Keeps an attempt whose own process cannot: its task function is in C code that holds the interpreter's lock.

In such a process no other thread runs: nobody there renews the lease, enforces the time limit or sees a cancellation.
The worker's parent forks a process that does so until the task function lets go, or kills the process that it is in.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import stat
import time
from collections.abc import Mapping
from contextlib import suppress

from executors import assembly
from executors.attempt_table import Entry
from executors.end_signals import END_SIGNALS
from executors.identity import is_stopped
from executors.keeper import Claimer, Keeper, Running
from executors.reports import Reports
from executors.settings import Settings
from executors.settling import Settling
from executors.word import Word
from tasks.context import Context
from tasks.errors import JobgateError, StoreUnavailable
from tasks.job import Mode
from tasks.step import Step, interrupt
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.worker")

#: Seconds without progress of its loop after which a process counts as blocked; with short leases a third of one.
BLOCKED = 2.0
#: Seconds between two checks whether it still is.
INTERVAL = 0.1
#: Seconds between two tries to open the store, and between two stand-ins for one process.
RETRY = 1.0


class StandIns:
    """The parent's side: starts a stand-in for each process that is blocked."""

    def __init__(self, settings: Settings, word: Word) -> None:
        self._settings = settings
        self._word = word
        #: Processes that are stood in for, by the pid of the stand-in.
        self._running: dict[int, int] = {}
        #: When the next stand-in for a process may start: one that fails at once must not be started again and again.
        self._not_before: dict[int, float] = {}

    def check(self, processes: Mapping[int, int]) -> None:
        """`processes`: the living processes of the pool, their pids by index. To be called again and again."""
        for child in list(self._running):
            with suppress(ChildProcessError):
                if os.waitpid(child, os.WNOHANG) == (0, 0):
                    continue
            del self._running[child]
        now = time.monotonic()
        self._not_before = {pid: at for pid, at in self._not_before.items() if at > now}
        for index, pid in processes.items():
            entry = self._word.attempts.read(index)
            if entry is None or entry.pid != pid or pid in {*self._running.values(), *self._not_before}:
                continue
            if _is_blocked(entry, self._settings.lease):
                self._not_before[pid] = now + RETRY
                self._start(index, entry)

    def _start(self, index: int, entry: Entry) -> None:
        child = os.fork()
        if child:
            self._running[child] = entry.pid
            return
        code = 1
        try:
            _leave_parent()
            asyncio.run(_StandIn(self._settings, self._word, index, entry).run())
            code = 0
        except BaseException:  # nothing may return into the copy of the parent
            log.exception("job %s: its attempt cannot be kept from outside its process", entry.attempt.id)
        finally:
            os._exit(code)


class _StandIn:
    def __init__(self, settings: Settings, word: Word, index: int, entry: Entry) -> None:
        self._settings = settings
        self._word = word
        self._index = index
        self._entry = entry
        self._ending: asyncio.Task[None] | None = None

    @property
    def _needed(self) -> bool:
        """Whether the process is still blocked in the same attempt."""
        now, entry = self._word.attempts.read(self._index), self._entry
        same = now is not None and (now.pid, now.attempt) == (entry.pid, entry.attempt)
        return same and now is not None and _is_blocked(now, self._settings.lease)

    async def run(self) -> None:
        """Keeps the attempt for as long as that is needed."""
        attempt = self._entry.attempt
        log.warning(
            "job %s: its task holds the interpreter's lock; its lease and limits are kept from outside", attempt.id
        )
        store = await self._open()
        if store is None:
            return
        claimer = Claimer(
            owner=attempt.owner, mode=Mode.CELERY, lease=self._settings.lease, grace=self._settings.cancel_grace
        )
        self._settling = Settling(store, Reports(store, attempt.owner), self._settings.lease)
        running = Running(attempt, Context(attempt))
        running.started_at = self._entry.started_at
        running.renewed_at = time.monotonic() - self._settings.lease / 3  # due now
        keeper = Keeper(store, claimer, self._give_up)
        keeper.begin(running)
        keeper.start()
        while self._needed and self._ending is None:
            await asyncio.sleep(INTERVAL)
            if 0 < self._word.drain_at <= time.monotonic():
                self._give_up(running, interrupt(attempt))
        if self._ending is not None:
            await self._ending
        await keeper.stop()
        await store.stop()

    async def _open(self) -> JobStore | None:
        """The store; None if the process needs no stand-in any more, or was killed since the store is away."""
        limit = self._entry.attempt.time_limit
        kill_at = math.inf if limit is None else self._entry.started_at + limit + self._settings.lease
        while self._needed:
            try:
                return await assembly.open_for(self._settings, Mode.CELERY)
            except StoreUnavailable as error:
                log.warning("job %s: its lease waits for the store: %s", self._entry.attempt.id, error)
            if time.monotonic() >= kill_at:
                self._kill()
            await asyncio.sleep(RETRY)
        return None

    def _give_up(self, running: Running, step: Step) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(step))

    async def _end(self, step: Step) -> None:
        """Writes the outcome, then kills the process: after it, since others would take a dead one's jobs for lost."""
        with suppress(JobgateError):
            await self._settling.settle(step, self._settings.lease)
        log.warning("job %s: attempt %d did not end; its process is killed (%s)", step.job_id, step.attempt, step.name)
        self._kill()

    def _kill(self) -> None:
        if self._needed:
            with suppress(ProcessLookupError):
                os.kill(self._entry.pid, signal.SIGKILL)


def _is_blocked(entry: Entry, lease: float) -> bool:
    """Whether the process makes no progress although it could: one that was stopped from outside loses its lease."""
    return time.monotonic() - entry.progress_at > min(BLOCKED, lease / 3) and not is_stopped(entry.pid)


def _leave_parent() -> None:
    """Gives up what belongs to the worker's parent: signal handlers, pipes and connections, which close with it."""
    for number in (*END_SIGNALS, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            mode = os.fstat(int(name)).st_mode
            if int(name) > 2 and (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)):
                os.close(int(name))
