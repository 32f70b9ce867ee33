"""Submit, read, list and steer jobs."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from gateway import intake, views
from gateway.call import Call
from gateway.problems import Refusal, in_parameter
from gateway.query import MAX_WAIT, idempotency_key, job_id, page_start, page_token, preferred_wait
from gateway.reply import Headers, Reply, encode, ok
from tasks.admission import MAX_TAG_LENGTH
from tasks.errors import InvalidSubmission, JobNotFound
from tasks.job import Filter, Job, State, Submission

MAX_PAGE = 200
#: Characters of a page of full jobs; one job may have more.
FULL_PAGE = 1024 * 1024
#: How long a waiting request sleeps before it looks whether the server is ending.
_WAIT_SLICE = 1.0


class WaitQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    wait: Annotated[float, Meta(ge=0, description=f"Seconds to wait for the job's end, at most {MAX_WAIT:g}")] = 0.0


class JobFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lists are alternatives; different parameters must all hold. Moments are RFC 3339 with an offset."""

    status: list[State] = msgspec.field(default_factory=list)
    task: list[str] = msgspec.field(default_factory=list)
    queue: list[str] = msgspec.field(default_factory=list)
    tag: Annotated[str, Meta(min_length=1, max_length=MAX_TAG_LENGTH)] | None = None
    retry_of: views.Id | None = None
    held: bool | None = None
    created_after: views.Moment | None = None
    created_before: views.Moment | None = None
    finished_after: views.Moment | None = None
    finished_before: views.Moment | None = None


class ListQuery(JobFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter, and which page."""

    page_size: Annotated[int, Meta(ge=1, description=f"More than {MAX_PAGE} means {MAX_PAGE}")] = 50
    page_token: Annotated[str, Meta(description="next_page_token of the page before")] = ""
    full: Annotated[bool, Meta(description="Long arguments and results too; a page ends after about 1 MiB")] = False


class LogQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    after: Annotated[int, Meta(ge=0, le=intake.MAX_INTEGER, description="The last seq already seen")] = 0
    limit: Annotated[int, Meta(ge=1, description="More than 1000 means 1000")] = 1000


async def submit(call: Call) -> Reply:
    wish = await intake.read(intake.submission, await call.json(call.gateway.options.max_body))
    key = idempotency_key(call.headers)
    if key is not None:
        # Each caller has keys of its own: nobody is shown the job of somebody else who counts in the same way.
        job, fresh = await call.control.submit_once(wish, f"{call.caller}:{key}", fingerprint(wish))
        if not fresh:
            return await _waited(call, job, 200, [(b"idempotency-replayed", b"true")])
    else:
        job = await call.control.submit(wish)
    if b"prefer" in call.headers:
        return await _waited(call, job, 202, _location(job))
    return Reply(202, encode(views.job_view(job)), _location(job))


async def submit_batch(call: Call) -> Reply:
    wanted = await intake.read(intake.batch, await call.json(call.gateway.options.max_batch_body))
    try:
        jobs = await call.control.submit_many(wanted.jobs)
    except InvalidSubmission as error:
        error.pointer = f"/jobs{error.pointer}"
        raise
    accepted = [views.Accepted(id=job.id, status=State.PENDING) for job in jobs]
    return Reply(202, encode(views.BatchView(count=len(accepted), jobs=accepted)))


async def read(call: Call) -> Reply:
    seconds = min(call.query(WaitQuery).wait, MAX_WAIT) or preferred_wait(call.headers) or 0.0
    job = await call.control.read(call.job_id)
    if seconds and not job.is_final:
        job = await wait(call, job, seconds)
    return _tagged(call, encode(views.job_view(job)))


async def list_jobs(call: Call) -> Reply:
    wanted = call.query(ListQuery)
    size = min(wanted.page_size, MAX_PAGE)
    # One more than asked for tells whether there is another page.
    before = page_start(wanted.page_token)
    if wanted.full:
        size = await call.control.store.fitting(filter_of(wanted), size, before, FULL_PAGE)
    jobs = await call.control.list(filter_of(wanted), size + 1, before, wanted.full)
    token = page_token(jobs[size - 1].id) if len(jobs) > size else ""
    return ok(views.JobPage(jobs=[views.listed(job) for job in jobs[:size]], next_page_token=token))


async def result(call: Call) -> Reply:
    job = await call.control.read(call.job_id)
    if not job.is_final:
        raise Refusal("state-conflict", f"job {job.id} is {job.status}: it has no result yet; add ?wait= to the job")
    if job.status is not State.SUCCESS:
        raise Refusal("job-failed", f"job {job.id} ended in {job.status} ({job.error_code}): {job.error_message}")
    if job.result_expired:
        raise Refusal("result-expired", f"the result of job {job.id} is no longer kept; retry the job to get it again")
    return _tagged(call, (job.result or "null").encode())


async def attempts(call: Call) -> Reply:
    ended = await call.control.attempts(call.job_id)
    return ok(views.AttemptList(attempts=[views.attempt_view(event) for event in ended]))


async def logs(call: Call) -> Reply:
    wanted = call.query(LogQuery)
    job = await call.control.read(call.job_id)
    lines = await call.control.logs(job.id, wanted.after, min(wanted.limit, 1000))
    after = lines[-1].seq if lines else wanted.after
    return ok(views.LogPage(lines=[views.line_view(line) for line in lines], next_after=after))


async def cancel(call: Call) -> Reply:
    done = await call.control.cancel(call.job_id)
    call.outcome = done.action
    return ok(views.CancellationView(action=done.action, job=views.job_view(done.job)))


async def hold(call: Call) -> Reply:
    return ok(views.job_view(await call.control.hold(call.job_id)))


async def release(call: Call) -> Reply:
    return ok(views.job_view(await call.control.release(call.job_id)))


async def retry(call: Call) -> Reply:
    job = await call.control.retry(call.job_id)
    call.outcome = f"new job {job.id}"
    return Reply(202, encode(views.job_view(job)), _location(job))


async def wait(call: Call, job: Job, seconds: float) -> Job:
    """The job once it is final, or as it stands when the time is over or the server ends.

    At once where too many wait already: a wish to wait binds nobody (RFC 7240), and a held request is a connection.
    """
    if job.is_final or seconds <= 0 or (give_back := call.gateway.waits.take(call.caller)) is None:
        return job
    try:
        while not job.is_final and seconds > 0 and not call.gateway.draining:
            job = await call.control.wait(job.id, min(seconds, _WAIT_SLICE))
            seconds -= _WAIT_SLICE
    finally:
        give_back()
    return job


def fingerprint(wish: Submission) -> str:
    """The same for the same submission, however its JSON was written."""
    return blake2b(msgspec.json.encode(wish, order="sorted"), digest_size=16).hexdigest()


def filter_of(wanted: JobFilter) -> Filter:
    return Filter(
        status=wanted.status,
        task=wanted.task,
        queue=wanted.queue,
        tag=wanted.tag,
        retry_of=None if wanted.retry_of is None else _id("retry_of", wanted.retry_of),
        held=wanted.held,
        created_after=milliseconds_of("created_after", wanted.created_after),
        created_before=milliseconds_of("created_before", wanted.created_before),
        finished_after=milliseconds_of("finished_after", wanted.finished_after),
        finished_before=milliseconds_of("finished_before", wanted.finished_before),
    )


def _id(name: str, text: str) -> str:
    try:
        return job_id(text)
    except JobNotFound as error:
        raise in_parameter(name, error.detail) from None


def milliseconds_of(name: str, text: str | None) -> int | None:
    try:
        return None if text is None else views.milliseconds(text)
    except ValueError:
        raise in_parameter(name, "takes an RFC 3339 moment with an offset, such as 2030-01-31T09:00:00Z") from None


async def _waited(call: Call, job: Job, status: int, headers: Headers) -> Reply:
    """The job after the wait that the caller prefers: 200 if it ended in time."""
    seconds = preferred_wait(call.headers)
    if seconds is None:
        return Reply(status, encode(views.job_view(job)), headers)
    job = await wait(call, job, seconds)
    applied = (b"preference-applied", f"wait={seconds:g}".encode())
    return Reply(200 if job.is_final else status, encode(views.job_view(job)), [*headers, applied])


def _tagged(call: Call, body: bytes) -> Reply:
    """200 with an ETag, or 304 if the caller has just this body."""
    tag = b'"%s"' % blake2b(body, digest_size=12).hexdigest().encode()
    headers = [(b"etag", tag), (b"cache-control", b"private, no-cache")]
    known = call.headers.get(b"if-none-match", b"")
    if known == b"*" or tag in [each.strip().removeprefix(b"W/") for each in known.split(b",")]:
        return Reply(304, b"", headers)
    return Reply(200, body, headers)


def _location(job: Job) -> Headers:
    return [(b"location", b"/api/v1/jobs/" + job.id.encode())]
