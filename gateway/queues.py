"""Queues: what waits in them, who serves them, and what operators do to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from gateway import bulk, views
from gateway.call import Call
from gateway.jobs import milliseconds_of
from gateway.problems import in_parameter
from gateway.query import MAX_WAIT
from gateway.reply import Reply, ok
from tasks.bulk import Action
from tasks.job import Counts, Filter, State
from tasks.moment import moment, moment_or_none
from tasks.queue import Pause
from tasks.worker import Worker

OPEN_STATES = (State.PENDING, State.STARTED, State.RETRY)


class PauseView(Struct, frozen=True, kw_only=True):
    """Since when the queue is not served, until when (null: until it is resumed), and why."""

    since: views.Moment
    until: views.Moment | None
    reason: str | None


class QueueView(Struct, frozen=True, kw_only=True):
    """`depth` counts the open jobs by state; `consumers` are the workers that serve the queue."""

    name: str
    depth: Mapping[str, int]
    oldest_age: Annotated[float, Meta(description="Seconds that the oldest due, unstarted job has waited")]
    rate: Annotated[float, Meta(description="Starts a second, over the last minute")]
    consumers: int
    slots: int
    paused: PauseView | None


class QueueList(Struct, frozen=True, kw_only=True):
    queues: Sequence[QueueView]


class QueueState(Struct, frozen=True, kw_only=True):
    """Whether the queue is served now."""

    name: str
    paused: PauseView | None


class PauseQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    until: Annotated[views.Moment | None, Meta(description="Without it the queue stays paused until it is resumed")] = (
        None
    )
    reason: Annotated[str, Meta(max_length=500)] | None = None


class PurgeQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dry_run: Annotated[bool, Meta(description="Only count")] = False
    wait: Annotated[float, Meta(ge=0, description=f"Seconds to wait for the end, at most {MAX_WAIT:g}")] = 10.0


class MoveQuery(PurgeQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    to: Annotated[str, Meta(min_length=1, description="The queue that the waiting jobs go to")]


async def list_queues(call: Call) -> Reply:
    control = call.control
    counts, workers = await control.store.counts(), await control.workers()
    pauses, rates = await control.steering.pauses(), await control.steering.rates()
    names = sorted({*control.queues, *counts.open, *pauses})
    return ok(QueueList(queues=[_view(name, counts, workers, pauses, rates) for name in names]))


async def pause(call: Call) -> Reply:
    wanted = call.query(PauseQuery)
    until = milliseconds_of("until", wanted.until)
    found = await call.control.steering.pause(call.params["queue"], until, wanted.reason)
    call.outcome = "paused" if wanted.until is None else f"paused until {wanted.until}"
    return ok(QueueState(name=found.queue, paused=_pause(found)))


async def resume(call: Call) -> Reply:
    await call.control.steering.resume(call.params["queue"])
    call.outcome = "resumed"
    return ok(QueueState(name=call.params["queue"], paused=None))


async def purge(call: Call) -> Reply:
    wanted = call.query(PurgeQuery)
    queue = await call.control.steering.check(call.params["queue"])
    return await bulk.run(call, bulk.Wish(Action.PURGE, Filter(queue=[queue])), wanted.dry_run, wanted.wait)


async def move(call: Call) -> Reply:
    wanted = call.query(MoveQuery)
    queue = await call.control.steering.check(call.params["queue"])
    bulk.check_target(call, wanted.to, lambda words: in_parameter("to", words))
    return await bulk.run(call, bulk.Wish(Action.MOVE, Filter(queue=[queue]), wanted.to), wanted.dry_run, wanted.wait)


def _view(
    name: str, counts: Counts, workers: Sequence[Worker], pauses: Mapping[str, Pause], rates: Mapping[str, float]
) -> QueueView:
    serving = [worker for worker in workers if name in worker.queues and worker.consumes]
    depth = counts.open.get(name, {})
    return QueueView(
        name=name,
        depth={state: depth.get(state, 0) for state in OPEN_STATES},
        oldest_age=counts.oldest_age.get(name, 0.0),
        rate=rates.get(name, 0.0),
        consumers=len(serving),
        slots=sum(worker.slots for worker in serving),
        paused=_pause(pauses[name]) if name in pauses else None,
    )


def _pause(pause: Pause) -> PauseView:
    return PauseView(since=moment(pause.since), until=moment_or_none(pause.until), reason=pause.reason)
