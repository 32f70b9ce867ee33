"""The scheduler process for those who start `celery beat`: `--scheduler executors.celery_beat:Scheduler`.

Beat only keeps the process: what fires is the same tick as everywhere, and any number may run.
"""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from typing import Any

from celery import beat

from executors import assembly
from executors.loop_thread import LoopThread
from executors.settings import Settings
from tasks.errors import JobgateError
from tasks.private_files import keep_files_private

#: Seconds between two looks of beat's at whether it was told to end; nothing waits for them.
PAUSE = 0.5


class Scheduler(beat.Scheduler):  # type: ignore[misc]  # Celery ships no types
    """Made by `celery beat`, with `lazy` only to be asked for its `info`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._loop: LoopThread | None = None
        self._running: AbstractAsyncContextManager[None] | None = None
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Beat's own entries stay empty: the schedules are in the store."""
        self.schedule: dict[str, Any] = {}
        keep_files_private()
        try:
            self._running = assembly.scheduler(Settings.from_env())
            self._loop = LoopThread("jobgate-schedules")
            self._loop.call(self._enter())
        except JobgateError as error:
            print(f"jobgate: {error.detail}", file=sys.stderr, flush=True)
            raise SystemExit(2) from error
        print("Jobgate schedules fire under celery beat", flush=True)

    def tick(self, *_: Any, **__: Any) -> float:
        return PAUSE

    def close(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call(self._leave(), timeout=10)
            loop.stop()

    @property
    def info(self) -> str:
        return "    . schedules -> the store in DATABASE_URL"

    # Entered and left by coroutines of the loop that everything in it belongs to.
    async def _enter(self) -> None:
        assert self._running is not None, "set up first"
        await self._running.__aenter__()

    async def _leave(self) -> None:
        assert self._running is not None, "set up first"
        await self._running.__aexit__(None, None, None)
