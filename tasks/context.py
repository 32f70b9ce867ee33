"""What a running task sees of its job."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, NoReturn

from tasks.errors import Cancelled, LeaseLost, Retry, SoftTimeLimitExceeded, printable
from tasks.job import Attempt

LEVELS = ("debug", "info", "warning", "error")

_current: ContextVar[Context] = ContextVar("jobgate_context")


class Context:
    """The job, the attempt, and the way to report and to be stopped.

    `report` is the carrier's: it takes ("progress", json) or ("log", level, message) from any thread and never blocks.
    """

    __slots__ = ("_report", "_stop", "job")

    def __init__(self, job: Attempt, report: Callable[..., None] | None = None) -> None:
        self.job = job
        self._report = report
        self._stop: type[Cancelled | LeaseLost | SoftTimeLimitExceeded] | None = None

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def attempt(self) -> int:
        """Which run of the job this is, counted from 1."""
        return self.job.attempt

    @property
    def retries(self) -> int:
        """How often the job has failed before."""
        return self.job.failures

    @property
    def request(self) -> Context:
        """Celery's spelling: `self.request.id`, `self.request.retries`."""
        return self

    @property
    def idempotency_key(self) -> str:
        """The same text on every attempt of this job: give it to whatever must not happen twice."""
        return self.job.id

    @property
    def cancelled(self) -> bool:
        """Whether the task should stop; `check()` says so by raising."""
        return self._stop is not None

    def check(self) -> None:
        """Raise if somebody asked this job to stop, its soft time limit has passed, or its lease was lost."""
        if self._stop is not None:
            raise self._stop

    def stop(self, reason: type[Cancelled | LeaseLost | SoftTimeLimitExceeded]) -> None:
        """For the carrier: make `check()` raise `reason` from now on."""
        self._stop = reason

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Record how far the task is; shown as `progress` on the job. Raises as `check()` does."""
        self.check()
        if self._report is not None:
            value = {"current": current, "total": total, "message": printable(message, 1000)}
            self._report("progress", json.dumps(value, allow_nan=False))

    def log(self, message: Any, level: str = "info") -> None:
        """Write a line to the job's log. `level` is one of debug, info, warning, error."""
        if level not in LEVELS:
            raise ValueError(f"level takes {', '.join(LEVELS)}; got {level!r}")
        if self._report is not None:
            self._report("log", level, printable(message))

    def retry(self, exc: BaseException | None = None, countdown: float | None = None) -> NoReturn:
        """Stop here and run again, after `countdown` seconds or the task's back-off."""
        raise Retry(str(exc) if exc is not None else None, countdown) from exc


def current() -> Context:
    """The context of the job that this code runs in. LookupError outside of one."""
    return _current.get()


def running() -> Context | None:
    """The context of the job that this code runs in; None outside of one."""
    return _current.get(None)


def enter(context: Context) -> Token[Context]:
    """For the carrier: make `context` the current one."""
    return _current.set(context)


def leave(token: Token[Context]) -> None:
    """Undo the `enter` that returned this token."""
    _current.reset(token)
