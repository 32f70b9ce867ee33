"""The limits of a task, as its code declares them and as operators set them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, structs

from executors.limits import Limit
from gateway import intake
from gateway.audit import changes
from gateway.call import Call
from gateway.problems import Refusal, in_body
from gateway.reply import Reply, ok
from tasks.errors import ConfigurationError


class LimitWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both are set; what is null or left out is no limit."""

    rate_limit: Annotated[str | float | None, Meta(description='As in "10/m"; a bare number is per second')] = None
    concurrency: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class LimitView(Struct, frozen=True, kw_only=True):
    """What holds for all jobs of the task together. `overridden`: an operator has set it, and no start changes it."""

    task: str
    starts_per_second: float | None
    concurrency: int | None
    overridden: bool


async def read(call: Call) -> Reply:
    name = _task(call)
    return ok(_view(name, await call.control.limits.read(name)))


async def override(call: Call) -> Reply:
    name = _task(call)
    before = await call.control.limits.read(name)
    wanted = intake.to_struct(
        await intake.read(intake.parse_json, await call.json(call.gateway.options.max_body)), LimitWish
    )
    try:
        found = await call.control.limits.override(name, wanted.rate_limit, wanted.concurrency)
    except ConfigurationError as error:
        raise in_body("invalid-submission", error.detail, "/rate_limit") from None
    call.outcome = _changes(before, found)
    return ok(_view(name, found))


async def reset(call: Call) -> Reply:
    name = _task(call)
    before, found = await call.control.limits.read(name), await call.control.limits.reset(name)
    call.outcome = _changes(before, found)
    return ok(_view(name, found))


def _changes(before: Limit, after: Limit) -> str:
    """What an operator changed, for the audit trail."""
    return changes(structs.asdict(_view("", before)), structs.asdict(_view("", after)))


def _task(call: Call) -> str:
    name = call.params["name"]
    if call.control.registry.find(name) is None:
        raise Refusal("task-not-found", f"no task {name[:200]!r} is registered; GET /api/v1/tasks lists those that are")
    return name


def _view(name: str, limit: Limit) -> LimitView:
    return LimitView(
        task=name,
        starts_per_second=None if limit.interval is None else 1000 / limit.interval,
        concurrency=limit.concurrency,
        overridden=limit.overridden,
    )
