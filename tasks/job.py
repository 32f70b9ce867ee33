"""The job: a durable request to run a task, as a caller sends it, as it is accepted, and as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class State(StrEnum):
    """Where a job stands; the words are Celery's."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"


WAITING = frozenset({State.PENDING, State.RETRY})
FINAL = frozenset({State.SUCCESS, State.FAILURE, State.REVOKED})


class ErrorCode(StrEnum):
    """Why a job is in FAILURE, RETRY or REVOKED."""

    TASK_ERROR = "task_error"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker_lost"
    RESULT_NOT_SERIALISABLE = "result_not_serialisable"
    RESULT_TOO_LARGE = "result_too_large"
    UNKNOWN_TASK = "unknown_task"
    INVALID_ARGUMENTS = "invalid_arguments"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Mode(StrEnum):
    """Which carrier runs a job."""

    THREAD = "thread"
    CELERY = "celery"


class Submission(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller asks for: the body of `POST /api/v1/jobs`.

    Durations are seconds. `eta` and `expires` given as text are RFC 3339 moments with an offset;
    `expires` given as a number counts from the moment of acceptance.
    """

    task: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    queue: str | None = None
    priority: int | None = None
    countdown: float | None = None
    eta: str | None = None
    expires: float | str | None = None
    max_retries: int | None = None
    soft_time_limit: float | None = None
    time_limit: float | None = None
    tags: list[str] = field(default_factory=list)
    held: bool = False
    concurrency_key: str | None = None


class NewJob(Struct, frozen=True, kw_only=True):
    """A checked submission with every default filled in: exactly what the store writes.

    `arguments` is the JSON text `[args, kwargs]`, `tags` a JSON list or None. It is due at `due_at` (milliseconds
    since the epoch), but not before `delay` (milliseconds) have passed since its acceptance, where that is set. Of
    `expires_at` and `expires_in` one is set or neither.
    `key_limit` is how many jobs of its concurrency key may run at once: `limit_name` is the key's then.
    """

    id: str
    task: str
    queue: str
    priority: int
    arguments: str
    max_retries: int
    max_losses: int
    soft_time_limit: float | None
    time_limit: float | None
    limit_name: str = ""
    delay: int | None = 0
    due_at: int | None = None
    expires_in: int | None = None
    expires_at: int | None = None
    held: bool = False
    tags: str | None = None
    retry_of: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    key_limit: int | None = None


#: Begins `finished_by` of an attempt that the reaper ended; the owner that was lost follows. Not the owner alone: a
#: process must be able to tell an end that it wrote from one that was written for it.
REAPER = "reaper of "


class Job(Struct, frozen=True, kw_only=True):
    """One row of the record. Times are milliseconds since the epoch on the store's clock, durations seconds.

    `arguments`, `progress`, `result` and `tags` are JSON texts. `attempt` counts claims and is the fencing token;
    `failures` and `losses` are the two budgets that retries and crashes use up.
    """

    id: str
    task: str
    queue: str
    priority: int
    status: State
    mode: Mode
    arguments: str
    attempt: int
    failures: int
    losses: int
    max_retries: int
    max_losses: int
    soft_time_limit: float | None
    time_limit: float | None
    held: bool
    limit_name: str
    created_at: int
    due_at: int
    expires_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    runtime: float | None = None
    owner: str | None = None
    lease_until: int | None = None
    cancel_requested_at: int | None = None
    progress: str | None = None
    result: str | None = None
    result_expired: bool = False
    error_code: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_trace: str | None = None
    tags: str | None = None
    retry_of: str | None = None
    rung_at: int | None = None
    finished_by: str | None = None

    @property
    def is_final(self) -> bool:
        return self.finished_at is not None

    @property
    def ran_by(self) -> str | None:
        """The owner that runs it, or that ran the last attempt of a job that has ended."""
        if self.owner is not None or not self.is_final or self.finished_by is None:
            return self.owner
        return self.finished_by.removeprefix(REAPER)


class Attempt(Struct, frozen=True):
    """A claimed job as its runner needs it; the fields are those of `Job`, and `owner` holds it."""

    id: str
    task: str
    queue: str
    priority: int
    arguments: str
    attempt: int
    failures: int
    losses: int
    max_retries: int
    max_losses: int
    soft_time_limit: float | None
    time_limit: float | None
    started_at: int
    owner: str


class Event(Struct, frozen=True, kw_only=True):
    """One transition of one job, written by the schema itself. `at` in milliseconds, `runtime` in seconds."""

    seq: int
    job_id: str
    at: int
    status: State
    attempt: int
    owner: str | None
    started_at: int | None
    runtime: float | None
    error_code: str | None
    error_type: str | None
    error_message: str | None
    error_trace: str | None


class LogLine(Struct, frozen=True, kw_only=True):
    """One line that a task wrote with `context.log`. `at` in milliseconds."""

    seq: int
    job_id: str
    attempt: int
    at: int
    level: str
    message: str


#: Stands in a listed job for arguments or a result that are too long for a list.
LEFT_OUT = ""


class Filter(Struct, frozen=True, kw_only=True):
    """Which jobs to list. Sets are alternatives; moments are milliseconds since the epoch, lower bound included."""

    status: Sequence[str] = ()
    task: Sequence[str] = ()
    queue: Sequence[str] = ()
    tag: str | None = None
    retry_of: str | None = None
    held: bool | None = None
    created_after: int | None = None
    created_before: int | None = None
    finished_after: int | None = None
    finished_before: int | None = None


class Counts(Struct, frozen=True, kw_only=True):
    """Open jobs now: `open[queue][state]`, and per queue the age in seconds of the oldest due, unstarted job."""

    open: Mapping[str, Mapping[str, int]]
    oldest_age: Mapping[str, float]
