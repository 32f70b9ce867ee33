"""How one job stands: all that is known of why it does not run or has not ended, read at once. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import ColumnElement, Executable, Integer, Row, func, or_, select, tuple_
from sqlalchemy.sql.expression import literal

from tasks.job import Job
from tasks.queue import Pause
from tasks.store.reader import Reader, to_worker
from tasks.store.schema import jobs, limits, workers
from tasks.store.writer import to_job
from tasks.worker import Worker

#: Counting the jobs before one ends here: it costs a millisecond a thousand, and who is so far behind needs no more.
MAX_AHEAD = 10_000
#: Holders of a concurrency limit that are named.
MAX_HOLDERS = 20

#: Queues in groups; an earlier group is served strictly before a later one.
Order = Sequence[Sequence[str]]

_JOB = [jobs.c[name] for name in Job.__struct_fields__]


class Limit(Struct, frozen=True, kw_only=True):
    """A rate and concurrency limit. `interval` is milliseconds between two starts, 0 for none; `free_at` when the next
    may start; `ahead` counts the due jobs that pass it before this one; `holders` are the first of the `running`."""

    name: str
    interval: float
    max_running: int | None
    free_at: int
    ahead: int
    running: int
    holders: Sequence[Holder]


class Holder(Struct, frozen=True, kw_only=True):
    """A running job that takes part of a concurrency limit."""

    id: str
    owner: str
    started_at: int


class Situation(Struct, frozen=True, kw_only=True):
    """A job and its surroundings at `now`. `ahead` counts the due jobs served before it, at most MAX_AHEAD; `workers`
    are all that the registry remembers, those that are lost included; `pause` is that of its queue."""

    now: int
    job: Job
    ahead: int
    limits: Sequence[Limit]
    workers: Sequence[Worker]
    pause: Pause | None


async def situation_of(reader: Reader, job_id: str, order: Order) -> Situation | None:
    """Where the job stands; None if there is none. Raises StoreUnavailable."""
    mine = select(*_JOB, jobs.c.rank, jobs.c.number, reader.clock.label("now"))
    known = select(workers).order_by(workers.c.name, workers.c.owner)
    found, registry = await reader.ask(mine.where(jobs.c.id == job_id), known)
    if not found:
        return None
    row = found[0]
    return Situation(
        now=row.now,
        job=to_job(tuple(row)[: len(_JOB)]),
        ahead=await _ahead(reader, row, order),
        limits=await _limits(reader, row) if row.limit_name else [],
        workers=[to_worker(worker) for worker in registry],
        pause=(await reader.pauses()).get(row.queue),
    )


async def _ahead(reader: Reader, row: Row[Sequence[object]], order: Order) -> int:
    if row.rank is None:
        return 0
    level = next((n for n, group in enumerate(order) if row.queue in group), len(order))
    mates = order[level] if level < len(order) else ()
    earlier = [queue for group in order[:level] for queue in group]
    before = or_(
        (jobs.c.queue.in_({row.queue, *mates})) & _before(row),
        jobs.c.queue.in_(earlier),
    )
    return int((await reader.ask(_count(before & jobs.c.waits_for.is_(None))))[0][0][0])


async def _limits(reader: Reader, row: Row[Sequence[object]]) -> Sequence[Limit]:
    """Its own, and the one of its task that stands above that of a concurrency key."""
    above = select(limits.c.task).where(limits.c.name == row.limit_name)
    mine = select(limits).where(or_(limits.c.name == row.limit_name, limits.c.name.in_(above)))
    (found,) = await reader.ask(mine.order_by(limits.c.task.is_(None)))
    return [await _limit(reader, row, limit) for limit in found]


async def _limit(reader: Reader, row: Row[Sequence[object]], limit: Row[Sequence[object]]) -> Limit:
    # A task's limit counts all jobs of the task, by whatever limit they came.
    mine = or_(jobs.c.limit_name == limit.name, jobs.c.task == limit.name)
    before = [
        _count(which & _before(row)) if row.rank is not None else select(literal(0))
        # Those that wait behind the limit, and those that have not been held against it yet.
        for which in (jobs.c.waits_for == limit.name, (jobs.c.queue == row.queue) & mine & jobs.c.waits_for.is_(None))
    ]
    running = mine & (jobs.c.status == "STARTED")
    named = select(jobs.c.id, jobs.c.owner, jobs.c.started_at).where(running)
    *counted, (held,), holders = await reader.ask(
        *before,
        select(func.count()).select_from(jobs).where(running),
        named.order_by(jobs.c.started_at).limit(MAX_HOLDERS),
    )
    return Limit(
        name=limit.name,
        interval=limit.interval,
        max_running=limit.max_running,
        free_at=round(limit.free_at),
        ahead=sum(int(rows[0][0]) for rows in counted),
        running=held[0],
        holders=[Holder(**holder._mapping) for holder in holders],
    )


def _before(row: Row[Sequence[object]]) -> ColumnElement[bool]:
    return tuple_(jobs.c.rank, jobs.c.number) < tuple_(literal(row.rank), literal(row.number))


def _count(condition: ColumnElement[bool]) -> Executable:
    due = select(literal(1, Integer)).where(jobs.c.rank.is_not(None), condition).limit(MAX_AHEAD)
    return select(func.count()).select_from(due.subquery())
