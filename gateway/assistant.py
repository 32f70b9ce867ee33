"""The addresses of the AI assistant platform, in exactly its shapes: thin aliases over the same verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from gateway import intake, views
from gateway import workers as gateway_workers
from gateway.call import Call
from gateway.problems import Refusal
from gateway.query import job_id
from gateway.reply import Reply, encode, ok
from tasks.command import Verb
from tasks.errors import InvalidArguments
from tasks.job import Filter, Job, State, Submission
from tasks.moment import moment, moment_or_none
from tasks.worker import Worker

GENERATE = "generate_ai_response"
MAX_LIST = 200


class TaskStatus(Struct, frozen=True, kw_only=True):
    """`runtime` in seconds; `error` the message of the failure."""

    task_id: views.Id
    status: State
    result: views.Result
    error: str | None
    date_done: views.Moment | None
    runtime: float | None


class ListedTask(Struct, frozen=True, kw_only=True):
    task_id: views.Id
    task_name: str
    queue: str
    status: State
    created_at: views.Moment
    date_done: views.Moment | None
    runtime: float | None
    error: str | None


class TaskListing(Struct, frozen=True, kw_only=True):
    """Newest first; `count` is the number of tasks in this answer."""

    tasks: Sequence[ListedTask]
    count: int


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, description=f"More than {MAX_LIST} means {MAX_LIST}")] = 50
    status: list[State] = msgspec.field(default_factory=list)


class Receipt(Struct, frozen=True, kw_only=True):
    task_id: views.Id
    status: State
    message: str


class TaskStats(Struct, frozen=True, kw_only=True):
    total_tasks: int
    pending: int
    started: int
    success: int
    failure: int
    retry: int
    revoked: int
    workers: int


class WorkerStatus(Struct, frozen=True, kw_only=True):
    name: str
    status: str
    pool: str
    concurrency: int
    active: int
    processes: Sequence[int]
    queues: Sequence[str]
    tasks: Sequence[str]


class WorkerListing(Struct, frozen=True, kw_only=True):
    workers: Sequence[WorkerStatus]
    count: int


class PoolQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a name: every worker."""

    worker_name: str | None = None
    wait: gateway_workers.Wait = gateway_workers.WAIT


class WorkerReceipt(Struct, frozen=True, kw_only=True):
    """What came of it, worker by worker."""

    message: str
    workers: Sequence[gateway_workers.CommandView]


async def status(call: Call) -> Reply:
    job = await call.control.read(_task_id(call))
    result = b"null" if job.result is None or job.result_expired else job.result.encode()
    return ok(
        TaskStatus(
            task_id=job.id,
            status=job.status,
            result=Raw(result),
            error=_error(job),
            date_done=moment_or_none(job.finished_at),
            runtime=job.runtime,
        )
    )


async def listing(call: Call) -> Reply:
    wanted = call.query(ListQuery)
    jobs = await call.control.list(Filter(status=wanted.status), min(wanted.limit, MAX_LIST))
    return ok(TaskListing(tasks=[_listed(job) for job in jobs], count=len(jobs)))


async def cancel(call: Call) -> Reply:
    done = await call.control.cancel(_task_id(call))
    words = "the task will not start" if done.action == "revoked" else "the task runs and was asked to stop"
    return ok(Receipt(task_id=done.job.id, status=done.job.status, message=words))


async def retry(call: Call) -> Reply:
    old = _task_id(call)
    return _receipt(await call.control.retry(old), f"submitted again as a new task; the old one, {old}, stays as it is")


async def generate(call: Call) -> Reply:
    arguments = await intake.read(intake.parse_json, await call.json(call.gateway.options.max_body))
    if not isinstance(arguments, dict):
        raise Refusal("invalid-arguments", f"send an object with the arguments of {GENERATE}")
    try:
        job = await call.control.submit(Submission(task=GENERATE, kwargs=arguments))
    except InvalidArguments as error:
        # Here the body itself is what elsewhere is `kwargs`.
        error.pointer = error.pointer.removeprefix("/kwargs")
        raise
    return _receipt(job, "submitted; ask for it at /api/v1/tasks/status/{task_id}")


async def stats(call: Call) -> Reply:
    jobs = await call.gateway.tallies.totals()
    counted = {state.lower(): jobs[state] for state in State}
    workers = {worker.name for worker in await call.control.workers()}
    return ok(TaskStats(total_tasks=sum(jobs.values()), workers=len(workers), **counted))


async def workers(call: Call) -> Reply:
    by_name: dict[str, list[Worker]] = {}
    for worker in await call.control.workers():
        by_name.setdefault(worker.name, []).append(worker)
    found = [_worker_status(name, parts) for name, parts in by_name.items()]
    return ok(WorkerListing(workers=found, count=len(found)))


async def restart_pool(call: Call) -> Reply:
    return await _told(call, Verb.RESTART)


async def shut_down(call: Call) -> Reply:
    return await _told(call, Verb.SHUTDOWN)


async def _told(call: Call, verb: Verb) -> Reply:
    wanted = call.query(PoolQuery)
    answers = await gateway_workers.tell(call, wanted.worker_name, verb, None, wanted.wait)
    return ok(WorkerReceipt(message=f"{verb}: {call.outcome}", workers=answers))


def _task_id(call: Call) -> str:
    return job_id(call.params["task_id"])


def _receipt(job: Job, message: str) -> Reply:
    receipt = Receipt(task_id=job.id, status=job.status, message=message)
    return Reply(202, encode(receipt), [(b"location", b"/api/v1/tasks/status/" + job.id.encode())])


def _error(job: Job) -> str | None:
    if job.error_code is None:
        return None
    return f"{job.error_type or job.error_code}: {job.error_message or ''}".removesuffix(": ")


def _listed(job: Job) -> ListedTask:
    return ListedTask(
        task_id=job.id,
        task_name=job.task,
        queue=job.queue,
        status=job.status,
        created_at=moment(job.created_at),
        date_done=moment_or_none(job.finished_at),
        runtime=job.runtime,
        error=_error(job),
    )


def _worker_status(name: str, parts: Sequence[Worker]) -> WorkerStatus:
    return WorkerStatus(
        name=name,
        status="draining" if all(part.draining for part in parts) else "online",
        pool=parts[0].pool,
        concurrency=sum(part.slots for part in parts),
        active=sum(part.busy for part in parts),
        processes=[part.pid for part in parts],
        queues=sorted({queue for part in parts for queue in part.queues}),
        tasks=sorted({task for part in parts for task in part.tasks}),
    )
