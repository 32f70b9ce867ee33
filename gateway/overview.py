"""What there is: tasks, queues, workers, figures, capabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from executors.base import Code, Setting
from gateway import views
from gateway.call import Call
from gateway.problems import Refusal
from gateway.reply import Reply, ok
from tasks.job import Mode, State
from tasks.task import Task


class TaskView(Struct, frozen=True, kw_only=True):
    """A registered task. `arguments` is the JSON Schema of its keyword arguments.

    `needs` says what this deployment lacks to run it, such as a setting; empty where it can run.
    """

    name: str
    queue: str
    description: str
    priority: int
    max_retries: int
    retry_backoff: float
    soft_time_limit: float | None
    time_limit: float | None
    rate_limit: str | float | None
    concurrency: int | None
    max_losses: int
    fallback: bool
    is_async: bool
    needs: str
    arguments: dict[str, Any]


class TaskList(Struct, frozen=True, kw_only=True):
    tasks: Sequence[TaskView]


class Stats(Struct, frozen=True, kw_only=True):
    """All jobs of the record by state, and who is there to run them."""

    jobs: Mapping[str, int]
    total: int
    workers: int
    slots: int
    busy: int
    mode: Mode


class CapabilitiesView(Struct, frozen=True, kw_only=True):
    """What the executor can do to a running job: "process", "interrupt" or "cooperative", strongest first.

    `setting` is what was asked for, `mode` the carrier in use, `reason` a sentence why. `fallback` is why threads stand
    in for Celery: its broker is away, no worker lives, or those that live are deaf; null while they do not.
    """

    mode: Mode
    setting: Setting
    fallback: Code | None
    reason: str
    stop_running_sync: str
    stop_running_async: str
    hard_limit: str
    priorities: int
    remote_workers: bool


async def list_tasks(call: Call) -> Reply:
    known = sorted(call.control.registry, key=lambda task: task.name)
    return ok(TaskList(tasks=[task_view(task) for task in known]))


async def read_task(call: Call) -> Reply:
    name = call.params["name"]
    task = call.control.registry.find(name)
    if task is None:
        raise Refusal("task-not-found", f"no task {name[:200]!r} is registered; GET /api/v1/tasks lists those that are")
    return ok(task_view(task))


async def stats(call: Call) -> Reply:
    jobs = await call.gateway.tallies.totals()
    workers = await call.control.workers()
    return ok(
        Stats(
            jobs={state: jobs[state] for state in State},
            total=sum(jobs.values()),
            workers=len(workers),
            slots=sum(worker.slots for worker in workers),
            busy=sum(worker.busy for worker in workers),
            mode=call.control.mode,
        )
    )


async def capabilities(call: Call) -> Reply:
    standing, can = call.control.standing, structs.asdict(call.control.capabilities)
    reason = views.public(await call.control.health())
    return ok(
        CapabilitiesView(mode=standing.mode, setting=standing.setting, fallback=standing.fallback, reason=reason, **can)
    )


def task_view(task: Task[..., Any]) -> TaskView:
    return TaskView(
        name=task.name,
        queue=task.queue,
        description=task.description,
        priority=task.priority,
        max_retries=task.retry.max_retries,
        retry_backoff=task.retry.backoff,
        soft_time_limit=task.soft_time_limit,
        time_limit=task.time_limit,
        rate_limit=task.rate_limit,
        concurrency=task.concurrency,
        max_losses=task.max_losses,
        fallback=task.fallback,
        is_async=task.is_async,
        needs="" if task.needs is None else task.needs(),
        arguments=task.signature.schema(),
    )
