"""Jobs, events, logs and workers as callers see them: RFC 3339 moments, durations in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct, structs

from executors.base import Health
from executors.identity import shown_owner
from tasks.job import LEFT_OUT, Event, Job, LogLine, Mode, State
from tasks.moment import moment, moment_or_none

Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
#: JSON texts of the record go out as they came in, never decoded.
JsonArray = Annotated[Raw, Meta(extra_json_schema={"type": "array"})]
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
Progress = Annotated[Raw, Meta(description="What the task reported last: {current, total, message}, or null")]
Result = Annotated[Raw, Meta(description="What the task returned; null before SUCCESS and after it expired")]

_NULL = Raw(b"null")
_EMPTY_LIST = Raw(b"[]")
_NO_ARGUMENTS = "[null,null]"
_split_arguments = msgspec.json.Decoder(tuple[Raw, Raw]).decode


class ErrorView(Struct, frozen=True, kw_only=True):
    """Why an attempt failed or a job was revoked; `type` is the exception's class name.

    `traceback` is what Python says of an exception that the task raised: its last 16,384 characters, secrets masked. It
    is null for other errors, and in lists.
    """

    code: str
    type: str | None
    message: str | None
    traceback: str | None


class JobView(Struct, frozen=True, kw_only=True):
    """A job. `attempt` counts runs, `retries` the failed ones; `status` is one of Celery's words.

    `worker` is the process that runs it, or that ran its last attempt when it has ended: `celery@host (pid 4711)`.
    """

    id: Id
    task: str
    status: State
    queue: str
    priority: int
    mode: Mode
    attempt: int
    retries: int
    max_retries: int
    created_at: Moment
    due_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    expires_at: Moment | None
    runtime: float | None
    progress: Progress
    result: Result
    result_expired: bool
    error: ErrorView | None
    tags: JsonArray
    retry_of: Id | None
    held: bool
    cancel_requested: bool
    args: JsonArray
    kwargs: JsonObject
    soft_time_limit: float | None
    time_limit: float | None
    worker: str | None


class ListedJob(JobView, frozen=True, kw_only=True):
    """A job as lists show it, without the traceback. `args`, `kwargs` and `result` are null where `shortened`: together
    they have more than 1,024 characters; `?full=true` shows them, and so does the job's own address."""

    args: Annotated[Raw, Meta(extra_json_schema={"type": ["array", "null"]})]
    kwargs: Annotated[Raw, Meta(extra_json_schema={"type": ["object", "null"]})]
    shortened: bool


class JobPage(Struct, frozen=True, kw_only=True):
    """One page, newest first; `next_page_token` is empty on the last."""

    jobs: Sequence[ListedJob]
    next_page_token: str


class Accepted(Struct, frozen=True, kw_only=True):
    """One job of a batch."""

    id: Id
    status: State


class BatchView(Struct, frozen=True, kw_only=True):
    """The jobs of a batch, in the order of the request."""

    count: int
    jobs: Sequence[Accepted]


class CancellationView(Struct, frozen=True, kw_only=True):
    """`action` is "revoked" (the job will never start) or "asked" (it runs and was told to stop)."""

    action: str
    job: JobView


class AttemptView(Struct, frozen=True, kw_only=True):
    """One run of a job, as it ended."""

    attempt: int
    status: State
    started_at: Moment | None
    ended_at: Moment
    runtime: float | None
    worker: str | None
    error: ErrorView | None


class AttemptList(Struct, frozen=True, kw_only=True):
    """The ended attempts, oldest first."""

    attempts: Sequence[AttemptView]


class LineView(Struct, frozen=True, kw_only=True):
    """One line that the task logged."""

    seq: int
    at: Moment
    attempt: int
    level: str
    message: str


class LogPage(Struct, frozen=True, kw_only=True):
    """Lines in order; give `next_after` as `after` to read on."""

    lines: Sequence[LineView]
    next_after: int


def public(health: Health) -> str:
    """What anybody may read of it: after a colon come a driver's words, which name hosts."""
    return health.detail.partition(":")[0]


def milliseconds(text: str) -> int:
    """An RFC 3339 moment in milliseconds since the epoch. ValueError for what is not one, with an offset."""
    found = msgspec.convert(text, datetime)
    if found.tzinfo is None:
        raise ValueError(text)
    return round(found.timestamp() * 1000)


def listed(job: Job) -> ListedJob:
    shortened = LEFT_OUT in (job.arguments, job.result)
    if job.arguments == LEFT_OUT:
        job = structs.replace(job, arguments=_NO_ARGUMENTS)
    if job.result == LEFT_OUT:
        job = structs.replace(job, result=None)
    return ListedJob(**structs.asdict(job_view(job)), shortened=shortened)


def job_view(job: Job) -> JobView:
    args, kwargs = _split_arguments(job.arguments)
    created_at = moment(job.created_at)
    return JobView(
        id=job.id,
        task=job.task,
        status=job.status,
        queue=job.queue,
        priority=job.priority,
        mode=job.mode,
        attempt=job.attempt,
        retries=job.failures,
        max_retries=job.max_retries,
        created_at=created_at,
        due_at=created_at if job.due_at == job.created_at else moment(job.due_at),
        started_at=moment_or_none(job.started_at),
        finished_at=moment_or_none(job.finished_at),
        expires_at=moment_or_none(job.expires_at),
        runtime=job.runtime,
        progress=_NULL if job.progress is None else Raw(job.progress),
        result=_NULL if job.result is None or job.result_expired else Raw(job.result),
        result_expired=job.result_expired,
        error=error_view(job),
        tags=_EMPTY_LIST if job.tags is None else Raw(job.tags),
        retry_of=job.retry_of,
        held=job.held,
        cancel_requested=job.cancel_requested_at is not None,
        args=args,
        kwargs=kwargs,
        soft_time_limit=job.soft_time_limit,
        time_limit=job.time_limit,
        worker=worker_of(job.ran_by),
    )


def worker_of(owner: str | None) -> str | None:
    """The worker process as people call it."""
    return None if owner is None else shown_owner(owner)


def error_view(of: Job | Event) -> ErrorView | None:
    if of.error_code is None:
        return None
    return ErrorView(code=of.error_code, type=of.error_type, message=of.error_message, traceback=of.error_trace)


def attempt_view(event: Event) -> AttemptView:
    return AttemptView(
        attempt=event.attempt,
        status=event.status,
        started_at=moment_or_none(event.started_at),
        ended_at=moment(event.at),
        runtime=event.runtime,
        worker=worker_of(event.owner),
        error=error_view(event),
    )


def line_view(line: LogLine) -> LineView:
    return LineView(seq=line.seq, at=moment(line.at), attempt=line.attempt, level=line.level, message=line.message)
