"""Samples: taken, kept, read back, added up, forgotten."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct
from sqlalchemy import Row, Table, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.errors import NotFound
from tasks.inventory import Inventory
from tasks.moment import moment, moment_or_none
from tasks.packs.stats.host import Host
from tasks.packs.stats.tables import DATABASE, OUTCOMES, QUEUES, SAMPLES

_HOUR = 3_600_000


class Depth(Struct, frozen=True, kw_only=True):
    """Waiting jobs of a queue; those of `due` could start, the oldest of them since `due_since`."""

    queue: str
    waiting: int
    due: int
    due_since: str | None


class Ended(Struct, frozen=True, kw_only=True):
    """Attempts of a task that ended so within the hour before."""

    task: str
    status: str
    attempts: int


class Sample(Struct, frozen=True, kw_only=True):
    """A host and the record at one moment; bytes, and None for what the host cannot tell."""

    id: int
    job_id: str
    at: str
    host: str
    cores: int
    load: float | None
    memory_total: int | None
    memory_available: int | None
    disk_total: int
    disk_free: int
    workers: int
    slots: int
    running: int
    queues: list[Depth]
    outcomes: list[Ended]


class SampleQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before`: only samples with a smaller id; newest first."""

    host: str | None = None
    before: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class SampleList(Struct, frozen=True, kw_only=True):
    """A page of samples, newest first; `before` of the next one, None on the last."""

    samples: list[Sample]
    next_before: int | None


class HostReport(Struct, frozen=True, kw_only=True):
    """One host over the time of a report; the least memory and disk that were free, in bytes."""

    host: str
    samples: int
    load_average: float | None
    load_most: float | None
    memory_least: int | None
    disk_least: int


class Report(Struct, frozen=True, kw_only=True):
    """`hours` until now: hosts, and the most jobs that waited in each queue."""

    since: str
    hosts: list[HostReport]
    deepest: dict[str, int]


def _now() -> int:
    return time.time_ns() // 1_000_000


async def keep(job_id: str, host: Host, record: Inventory) -> Sample:
    """Write a sample down, once for each job."""
    async with DATABASE.writing() as tables:
        known = (await tables.execute(select(SAMPLES).where(SAMPLES.c.job_id == job_id))).one_or_none()
        if known is None:
            made = insert(SAMPLES).values(**_values(job_id, host, record)).returning(SAMPLES)
            known = (await tables.execute(made)).one()
            await _parts(tables, QUEUES, known.id, _queues(record))
            await _parts(tables, OUTCOMES, known.id, _outcomes(record))
        return (await _whole(tables, [known]))[0]


async def latest() -> Sample:
    """The newest one. Raises NotFound before the first."""
    page = await listed(SampleQuery(limit=1))
    if not page.samples:
        raise NotFound("no sample has been taken: tasks.stats.collect_system_stats takes one")
    return page.samples[0]


async def listed(query: SampleQuery) -> SampleList:
    """A page of samples."""
    wanted = select(SAMPLES).order_by(SAMPLES.c.id.desc()).limit(query.limit + 1)
    if query.host is not None:
        wanted = wanted.where(SAMPLES.c.host == query.host)
    if query.before is not None:
        wanted = wanted.where(SAMPLES.c.id < query.before)
    async with DATABASE.reading() as tables:
        rows = (await tables.execute(wanted)).all()
        samples = await _whole(tables, rows[: query.limit])
    return SampleList(samples=samples, next_before=samples[-1].id if len(rows) > len(samples) else None)


async def report(hours: int) -> Report:
    """What the samples of the last hours say together."""
    since = _now() - hours * _HOUR
    c = SAMPLES.c
    figures = select(
        c.host, func.count(), func.avg(c.load), func.max(c.load), func.min(c.memory_available), func.min(c.disk_free)
    )
    deepest = select(QUEUES.c.queue, func.max(QUEUES.c.waiting)).join(SAMPLES, c.id == QUEUES.c.sample_id)
    async with DATABASE.reading() as tables:
        hosts = (await tables.execute(figures.where(c.at >= since).group_by(c.host).order_by(c.host))).all()
        depths = (await tables.execute(deepest.where(c.at >= since).group_by(QUEUES.c.queue))).all()
    return Report(since=moment(since), hosts=[_host(row) for row in hosts], deepest={row[0]: row[1] for row in depths})


async def forget(days: int) -> int:
    """Delete what is older, parts and all; how many samples."""
    async with DATABASE.writing() as tables:
        gone = await tables.execute(delete(SAMPLES).where(SAMPLES.c.at < _now() - days * 24 * _HOUR))
        return gone.rowcount


def _values(job_id: str, host: Host, record: Inventory) -> dict[str, Any]:
    fields = {name: getattr(host, name) for name in host.__struct_fields__}
    counts = {
        "workers": len(record.workers),
        "slots": sum(worker.slots for worker in record.workers),
        "running": sum(holding.jobs for holding in record.running),
    }
    return {"job_id": job_id, "at": record.now, **fields, **counts}


def _queues(record: Inventory) -> Iterable[dict[str, Any]]:
    ordered = sorted(record.waiting, key=lambda waiting: waiting.queue)
    for queue, group in itertools.groupby(ordered, key=lambda waiting: waiting.queue):
        parts = list(group)
        since = [part.due_since for part in parts if part.due_since is not None]
        waiting, due = sum(part.jobs for part in parts), sum(part.due for part in parts)
        yield {"queue": queue, "waiting": waiting, "due": due, "due_since": min(since, default=None)}


def _outcomes(record: Inventory) -> Iterable[dict[str, Any]]:
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in record.outcomes:
        counts[outcome.task, outcome.status] += outcome.count
    return [{"task": task, "status": status, "attempts": count} for (task, status), count in counts.items()]


async def _parts(tables: AsyncConnection, table: Table, sample: int, rows: Iterable[Mapping[str, Any]]) -> None:
    values = [{"sample_id": sample, **row} for row in rows]
    if values:
        await tables.execute(insert(table), values)


async def _whole(tables: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Sample]:
    """Samples with their parts."""
    ids = [row.id for row in rows]
    queues = select(QUEUES).where(QUEUES.c.sample_id.in_(ids)).order_by(QUEUES.c.queue)
    ended = select(OUTCOMES).where(OUTCOMES.c.sample_id.in_(ids)).order_by(OUTCOMES.c.task, OUTCOMES.c.status)
    depths = (await tables.execute(queues)).all()
    outcomes = (await tables.execute(ended)).all()
    return [
        Sample(
            **{name: getattr(row, name) for name in row._fields if name != "at"},
            at=moment(row.at),
            queues=[_depth(part) for part in depths if part.sample_id == row.id],
            outcomes=[
                Ended(task=part.task, status=part.status, attempts=part.attempts)
                for part in outcomes
                if part.sample_id == row.id
            ],
        )
        for row in rows
    ]


def _depth(row: Row[Any]) -> Depth:
    return Depth(queue=row.queue, waiting=row.waiting, due=row.due, due_since=moment_or_none(row.due_since))


def _host(row: Row[Any]) -> HostReport:
    host, count, average, most, memory, disk = tuple(row)
    mean = None if average is None else round(float(average), 2)
    return HostReport(host=host, samples=count, load_average=mean, load_most=most, memory_least=memory, disk_least=disk)
