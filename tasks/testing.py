"""Unit tests of tasks: a context without a gateway, and what a body reported through it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import Token
from typing import Any

from tasks.context import Context, enter, leave
from tasks.errors import Cancelled, LeaseLost, SoftTimeLimitExceeded
from tasks.job import Attempt


class Recorder:
    """A context for calls of bodies: `my_task(recorder.context, 42)`; inside `with recorder:` also for `current()`.

    `progress` lists what the body reported ({current, total, message}), `log` its lines (level, message).
    """

    def __init__(self, job: str = "job-1", attempt: int = 1) -> None:
        self.progress: list[dict[str, Any]] = []
        self.log: list[tuple[str, str]] = []
        self._watch: Callable[[], None] = lambda: None
        self.context = Context(_attempt(job, attempt), self._take)
        self._tokens: list[Token[Context]] = []

    def __enter__(self) -> Recorder:
        self._tokens.append(enter(self.context))
        return self

    def __exit__(self, *_: object) -> None:
        leave(self._tokens.pop())

    def _take(self, kind: str, *words: str) -> None:
        if kind == "progress":
            self.progress.append(json.loads(words[0]))
        else:
            self.log.append((words[0], words[1]))
        self._watch()

    def stop_after(self, reports: int, reason: type[Cancelled | LeaseLost | SoftTimeLimitExceeded]) -> None:
        """Ask the body to stop when it has reported progress so often; 0: from the beginning."""
        if reports == 0:
            self.context.stop(reason)
        self.when(lambda: len(self.progress) == reports, lambda: self.context.stop(reason))

    def when(self, holds: Callable[[], bool], act: Callable[[], object]) -> None:
        """Act once, after the first progress report for which the condition holds."""
        acted = False

        def watch() -> None:
            nonlocal acted
            if not acted and self.progress and holds():
                acted = True
                act()

        self._watch = watch


def _attempt(job: str, number: int) -> Attempt:
    return Attempt(
        id=job,
        task="tests",
        queue="default",
        priority=0,
        arguments="[[],{}]",
        attempt=number,
        failures=number - 1,
        losses=0,
        max_retries=3,
        max_losses=3,
        soft_time_limit=None,
        time_limit=None,
        started_at=0,
        owner="tests",
    )
