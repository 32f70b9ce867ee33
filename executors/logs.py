"""The log of a process: one line for each attempt, and the job's id on every line that a task writes.

Lines of the standard library's `logging`, as text or as JSON (JOBGATE_LOG_FORMAT); a task's own lines go into its job's
log as well.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any, Literal

from tasks.context import Context, current
from tasks.job import Attempt, State
from tasks.step import Step

log = logging.getLogger("jobgate.attempt")

#: Libraries whose INFO lines tell an operator nothing about jobs.
QUIET = ("aiosqlite", "alembic", "amqp", "asyncio", "celery", "httpcore2", "httpx2", "kombu", "sqlalchemy", "uvicorn")
#: The levels of a job's log by those of `logging`.
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "error"}
#: Control characters but for tab and line feed, Unicode's line separators, marks of direction, lone surrogates.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def set_up(level: str = "WARNING", form: Literal["text", "json"] = "text") -> None:
    """Write to stderr what has this level or more; called once before the settings are known, and once after."""
    handler = _Output()
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    silence_libraries()
    follow_tasks()


class _Output(logging.StreamHandler[Any]):
    """The process's log on stderr."""

    #: The one that `set_up` made last; None in a process whose log is Celery's.
    latest: _Output | None = None

    def __init__(self) -> None:
        super().__init__()
        _Output.latest = self


def silence_libraries() -> None:
    """Leave out what libraries say below WARNING."""
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def follow_tasks() -> None:
    """From now on each record knows its job, and a task's own lines go into its job's log."""
    logging.setLogRecordFactory(_record)
    root = logging.getLogger()
    if not any(isinstance(handler, JobLog) for handler in root.handlers):
        root.addHandler(JobLog())


def outlive_task_modules() -> None:
    """Keep the product's lines: `dictConfig` in a task module takes the root's handlers, and switches loggers off.

    Where it took ours, the product's lines keep their form by a handler of their own, unless the module gave them one.
    """
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "jobgate" and isinstance(logger, logging.Logger):
            logger.disabled = False
    own = logging.getLogger("jobgate")
    if _Output.latest is not None and _Output.latest not in logging.root.handlers and not own.handlers:
        own.addHandler(_Output.latest)
        own.propagate = False
    if logging.getLogRecordFactory() is _record:
        follow_tasks()


def formatter(form: str) -> logging.Formatter:
    return JsonFormatter() if form == "json" else TextFormatter()


def log_outcome(attempt: Attempt, step: Step) -> None:
    """One line about an attempt that has ended: at WARNING with its traceback if it failed, else at INFO."""
    failure = step.failure
    failed = failure is not None and step.target is not State.REVOKED
    level = logging.WARNING if failed else logging.INFO
    if not log.isEnabledFor(level):
        return
    runtime = "" if step.runtime is None else f" after {step.runtime:.3f} s"
    error = "" if failure is None else ": " + ": ".join(filter(None, (failure.type, failure.message)))
    trace = f"\n{failure.trace.rstrip()}" if failure is not None and failure.trace else ""
    words = f"{step.name}: {step.target}{runtime}, queue {attempt.queue}{error}{trace}"
    fields = {"jobgate_attempt": attempt, "outcome": str(step.target), "runtime": step.runtime}
    # What a task raised may hold a percent sign, so it is an argument and not the format.
    log.log(level, "%s", words, extra=fields)


def escape(text: str) -> str:
    """Returns `text` with each character that could forge a line or steer a terminal as its Python escape."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class TextFormatter(logging.Formatter):
    """`moment LEVEL logger: message`, and the job where there is one.

    Only the first line of a record begins in the first column: what a message holds cannot pass for another record.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return escape(super().format(record)).replace("\n", "\n    ")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging gives it
        line = super().formatMessage(record)
        job = _job_of(record)
        if job is None:
            return line
        first, newline, rest = line.partition("\n")
        return f"{first} [job {job.id}, task {job.task}, attempt {job.attempt}]{newline}{rest}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message; of a job its id, task, queue, attempt."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        job = _job_of(record)
        if job is not None:
            line |= {"job_id": job.id, "task": job.task, "queue": job.queue, "attempt": job.attempt}
        line |= {name: value for name in ("outcome", "runtime") if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # JSON escapes the control characters of ASCII itself; those that are left have no meaning in its syntax.
        return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(line, ensure_ascii=False, default=str))


class JobLog(logging.Handler):
    """Hands the lines that a task writes by `logging` to its job's log; those of the product stay out of it."""

    def emit(self, record: logging.LogRecord) -> None:
        context = _context()
        if context is not None and not record.name.startswith("jobgate"):
            try:
                context.log(record.getMessage(), _LEVELS.get(record.levelname, "info"))
            except Exception:  # a line that cannot be kept must not fail the task that writes it
                self.handleError(record)


class _Record(logging.LogRecord):
    """A record that knows the job whose task wrote it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        context = _context()
        if context is not None:
            self.jobgate_job = context.job


def _record(*arguments: Any, **options: Any) -> logging.LogRecord:
    return _Record(*arguments, **options)


def _job_of(record: logging.LogRecord) -> Attempt | None:
    """The attempt that the line is about, or whose task wrote it."""
    # Two names, because `extra` may not overwrite what the record factory has set.
    found: Attempt | None = getattr(record, "jobgate_attempt", None) or getattr(record, "jobgate_job", None)
    return found


def _context() -> Context | None:
    try:
        return current()
    except LookupError:
        return None
