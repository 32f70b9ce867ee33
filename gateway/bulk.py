"""One verb for all jobs of a filter: counted first, begun, watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from gateway import intake, views
from gateway.call import Call
from gateway.jobs import JobFilter, filter_of
from gateway.problems import Fault, Refusal, in_body
from gateway.query import MAX_WAIT
from gateway.reply import Reply, encode, ok
from tasks.bulk import Action, Bulk
from tasks.job import Filter
from tasks.moment import moment, moment_or_none

MAX_LIST = 100


class BulkWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be done, and to which jobs: the filters of the list, at least one of them. `to` is for "move"."""

    action: Action
    filter: JobFilter
    to: str | None = None
    dry_run: bool = False


class BulkQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    wait: Annotated[float, Meta(ge=0, description=f"Seconds to wait for the end, at most {MAX_WAIT:g}")] = 0.0


class BulkView(Struct, frozen=True, kw_only=True):
    """A bulk action as it stands; of a dry run only `action`, `filter`, `count` and `sample` say something.

    `state` is "dry run", "running", "done" or "failed". Of the jobs that were visited `done` were changed, `skipped`
    had changed by themselves meanwhile, `failed` were refused, the last one for what `message` says. `count` jobs
    fitted at the start; it is never less than the three together, and equal to them once the state is "done".
    """

    id: views.Id | None
    action: Action
    filter: views.JsonObject
    to: str | None
    state: str
    count: int
    done: int = 0
    skipped: int = 0
    failed: int = 0
    message: str | None = None
    sample: Annotated[Sequence[views.Id], Meta(description="Of a dry run: the newest jobs that it would visit")] = ()
    created_at: views.Moment | None = None
    finished_at: views.Moment | None = None


class BulkList(Struct, frozen=True, kw_only=True):
    """The latest first."""

    actions: Sequence[BulkView]


class Wish(NamedTuple):
    """A checked one."""

    action: Action
    filter: Filter
    target: str | None = None


async def begin(call: Call) -> Reply:
    wait = call.query(BulkQuery).wait
    wanted = intake.to_struct(
        await intake.read(intake.parse_json, await call.json(call.gateway.options.max_body)), BulkWish
    )
    if (wanted.to is None) == (wanted.action is Action.MOVE):
        raise in_body("invalid-submission", "is needed for move, and for nothing else", "/to")
    if wanted.filter == JobFilter():
        words = 'has no condition: {"created_before": <now>} means every job'
        raise in_body("invalid-submission", words, "/filter")
    target = wanted.to
    if target is not None:
        check_target(call, target, lambda words: in_body("unknown-queue", words, "/to"))
    return await run(call, Wish(wanted.action, _filter(wanted.filter), target), wanted.dry_run, wait)


async def read(call: Call) -> Reply:
    return ok(view(await call.control.bulks.read(call.params["bulk_id"].lower())))


async def latest(call: Call) -> Reply:
    return ok(BulkList(actions=[view(bulk) for bulk in await call.control.bulks.latest(MAX_LIST)]))


async def run(call: Call, wish: Wish, dry_run: bool, wait: float) -> Reply:
    """200 with the count or with the ended action; 202 with one that is under way."""
    bulks = call.control.bulks
    if dry_run:
        found = await bulks.preview(wish.action, wish.filter)
        shown = Raw(msgspec.json.encode(wish.filter))
        call.outcome = f"dry run: {found.total} jobs"
        return ok(
            BulkView(
                id=None, action=wish.action, filter=shown, to=wish.target, state="dry run", count=found.total,
                sample=found.sample,
            )
        )  # fmt: skip
    bulk = await bulks.wait(await bulks.begin(*wish), min(wait, MAX_WAIT))
    call.outcome = f"bulk action {bulk.id}, {bulk.state}: {bulk.done} of {bulk.total} jobs"
    location = [(b"location", b"/api/v1/bulk/" + bulk.id.encode())]
    return Reply(202 if bulk.finished_at is None else 200, encode(view(bulk)), location)


def view(bulk: Bulk) -> BulkView:
    return BulkView(
        id=bulk.id,
        action=bulk.action,
        filter=Raw(bulk.filter.encode()),
        to=bulk.target,
        state=bulk.state,
        count=bulk.total,
        done=bulk.done,
        skipped=bulk.skipped,
        failed=bulk.failed,
        message=bulk.message,
        created_at=moment(bulk.created_at),
        finished_at=moment_or_none(bulk.finished_at),
    )


def check_target(call: Call, queue: str, refuse: Callable[[str], Refusal]) -> None:
    """Refuse a queue that no submission may name: nobody would serve it."""
    if queue not in call.control.queues:
        raise refuse(f"no queue {queue[:200]!r}: use one of {', '.join(sorted(call.control.queues))}")


def _filter(wanted: JobFilter) -> Filter:
    try:
        return filter_of(wanted)
    except Refusal as refusal:  # in a list they are parameters, here they are fields
        faults = [Fault(pointer=f"/filter/{fault.parameter}", detail=fault.detail) for fault in refusal.faults]
        raise Refusal("invalid-submission", refusal.detail, faults) from None
