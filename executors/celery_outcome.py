"""Makes the outcome of a job the outcome of its Celery message, so that Celery's log, events and Flower agree with the
store.

The task of a message raises the outcome. Celery's own trace then logs it and sends the event; nothing else follows from
it, because messages are acknowledged before the job runs and no result backend is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar, Never

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Ignore, Retry
from celery.worker.request import Request
from celery.worker.state import task_ready

from tasks.job import State
from tasks.step import Step

#: Characters of an error in a log line or an event.
MAX_ERROR = 500

log = logging.getLogger("jobgate.worker")


class JobFailed(Exception):
    """The job ended in FAILURE; shown as its error's code, class and message."""

    def __repr__(self) -> str:
        return str(self.args[0])


class JobRevoked(Ignore):  # type: ignore[misc]  # Celery ships no types
    """The job was cancelled."""


class NotEnded(Ignore):  # type: ignore[misc]  # Celery ships no types
    """The message led to no outcome: its job runs elsewhere, waits for a limit, or went back to its queue."""


class JobRequest(Request):  # type: ignore[misc]  # Celery ships no types
    """The parent's view of a message. Celery has no way to say from a child that a task was revoked."""

    #: Has the processes of the worker give back what they run. Celery waits for them before it announces its shutdown.
    give_back: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    def on_failure(self, exc_info: Any, **options: Any) -> None:
        if not isinstance(_exception(exc_info), JobRevoked):
            super().on_failure(exc_info, **options)
            return
        task_ready(self)
        log.info("worker: job %s of task %s was cancelled", self.id, self.name)
        self.send_event("task-revoked", terminated=True, signum=None, expired=False)
        self.acknowledge()

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Begins a cold shutdown. Celery would kill the process of the message, and fails where a pool has none."""
        type(self).give_back()

    def on_retry(self, exc_info: Any) -> None:
        self.send_event("task-retried", exception=str(_exception(exc_info)), traceback="")


class PingFilter(logging.Filter):
    """Drops what Celery logs about messages of one task."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self._task = task

    def filter(self, record: logging.LogRecord) -> bool:
        data = getattr(record, "data", None)
        return not (isinstance(data, dict) and data.get("name") == self._task)


def hide_from_log(task: str) -> None:
    """Keeps the messages of `task` out of Celery's log lines."""
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(PingFilter(task))


def raise_outcome(step: Step) -> None:
    """Raises what tells Celery how the attempt ended; returns if it succeeded."""
    if step.target is State.SUCCESS:
        return
    if step.target is State.FAILURE:
        raise JobFailed(_error(step))
    if step.target is State.RETRY and step.failure is not None:
        raise Retry(exc=_error(step), when=round(step.delay, 1))
    raise_state(step.target)


def raise_state(state: State | None) -> Never:
    """Raises what tells Celery that a message led to no attempt, because its job is in `state`."""
    raise JobRevoked if state is State.REVOKED else NotEnded


def _error(step: Step) -> str:
    failure = step.failure
    assert failure is not None
    name = f"{failure.type}: " if failure.type else ""
    return f"{failure.code}: {name}{failure.message}"[:MAX_ERROR]


def _exception(exc_info: Any) -> BaseException:
    """The exception itself: in a pool without processes it is still wrapped."""
    found: BaseException = exc_info.exception
    return found.exc if isinstance(found, ExceptionWithTraceback) else found
