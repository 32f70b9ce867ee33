"""What can be asked of the record: small look-ups through the driver, everything else through SQLAlchemy Core."""

from __future__ import annotations

import builtins
import json
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Row,
    Select,
    TextClause,
    and_,
    case,
    func,
    literal_column,
    null,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from tasks.audit import Entry
from tasks.errors import StoreUnavailable
from tasks.job import LEFT_OUT, Event, Filter, Job, LogLine, State
from tasks.queue import Pause
from tasks.store import queues, rings, statements, upkeep
from tasks.store.backend import Backend, Query, Rows, lost
from tasks.store.guards import CLOCK
from tasks.store.health import StoreHealth
from tasks.store.schema import audit, events, jobs, logs, workers
from tasks.store.writer import to_job
from tasks.worker import WORKER_TTL, Worker

_EVENT = [events.c[name] if name in events.c else jobs.c.id.label(name) for name in Event.__struct_fields__]
_LOG = [logs.c[name] for name in LogLine.__struct_fields__]


#: Characters of arguments, and of a result, that a list shows.
SHORT = 1024
#: Milliseconds beyond which no clock gets.
NEVER = 1 << 50


class Reader:
    """Reads; raises StoreUnavailable when the database does not answer.

    `result_age`: for how many milliseconds after its job's end a result is shown.
    """

    def __init__(self, backend: Backend, result_age: int = NEVER) -> None:
        self.engine = backend.engine
        self._backend = backend
        self.health = StoreHealth(backend)
        self.result_age = result_age
        self._now: ColumnElement[int] = literal_column(CLOCK[self.engine.dialect.name], BigInteger)

    @property
    def clock(self) -> ColumnElement[int]:
        """The database's clock, to stand in a query."""
        return self._now

    async def get(self, job_id: str) -> Job | None:
        rows = await self._look_up(statements.GET, id=job_id, result_age=self.result_age)
        return to_job(rows[0]) if rows else None

    async def final(self, job_ids: Sequence[str]) -> builtins.list[str]:
        """Those of `job_ids` that have ended or do not exist any more."""
        still_open = {row[0] for row in await self._look_up(statements.STILL_OPEN, [[job_id] for job_id in job_ids])}
        return [job_id for job_id in job_ids if job_id not in still_open]

    async def cancelled(self, owner: str) -> Sequence[str]:
        """Which running jobs of this owner have been asked to stop."""
        return [row[0] for row in await self._look_up(statements.CANCELLED, owner=owner)]

    async def has_ready(
        self, queues: Sequence[str], condition: str = statements.READY, skipped: Sequence[str] = ()
    ) -> bool:
        """Whether one of these queues has a due job, of another task than those skipped, of which the condition holds:
        READY or UNRUNG of `statements`."""
        sql = statements.has_ready(condition, len(skipped))
        return bool(await self._look_up(sql, [[queue] for queue in queues], **statements.names(skipped)))

    async def unserved(self) -> builtins.list[str]:
        """The queues in which jobs are due and from which no live worker takes any."""
        ready = [row[0] for row in await self._look_up(statements.CANDIDATE_QUEUES)]
        served = {name for worker in await self.workers() if worker.consumes for name in worker.queues}
        return [queue for queue in ready if queue not in served]

    async def rung(self) -> dict[str, int]:
        """How many unanswered rings each queue has."""
        return dict(await self._look_up(rings.RUNG))

    async def next_due(self) -> float | None:
        """Seconds until the next delayed job is due; None when none is delayed."""
        delay = (await self._look_up(upkeep.NEXT_DUE))[0][0]
        return None if delay is None else delay / 1000

    async def owners(self) -> builtins.list[str]:
        """Who holds running jobs, or stands in the registry."""
        return [row[0] for row in await self._look_up(upkeep.OWNERS)]

    async def find_by_key(self, key: str) -> tuple[Job, str] | None:
        """The job accepted under an idempotency key, and the fingerprint of its body."""
        rows = await self._fetch(select(*self._job(), jobs.c.fingerprint).where(jobs.c.idempotency_key == key))
        return (to_job(tuple(rows[0][:-1])), rows[0][-1]) if rows else None

    async def list(
        self, wanted: Filter, limit: int, before: str | None = None, full: bool = False
    ) -> builtins.list[Job]:
        """Newest first (ids sort by time), those with an id below `before`, without tracebacks.

        Arguments and results of more than `SHORT` characters are the text `LEFT_OUT` unless `full`.
        """
        rows = await self._fetch(self._page(self._listed(full), wanted, limit, before))
        return [to_job(tuple(row)) for row in rows]

    async def fitting(self, wanted: Filter, limit: int, before: str | None, size: int) -> int:
        """How many of the jobs of a full `list` have together about `size` characters; one at least."""
        varying = (jobs.c.arguments, jobs.c.result, jobs.c.error_message, jobs.c.progress)
        length = reduce(add, [func.coalesce(func.length(column), 0) for column in varying])
        rows = await self._fetch(self._page([length], wanted, limit, before))
        within = [total for total in accumulate(row[0] for row in rows) if total <= size]
        return max(1, len(within))

    async def count(self, wanted: Filter, before: str) -> int:
        """How many jobs a list of all pages would have."""
        query = select(func.count()).where(*self._conditions(wanted), jobs.c.id < before)
        return int((await self._fetch(query))[0][0])

    async def events(self, job_id: str, after: int = 0) -> Sequence[Event]:
        """The job's transitions in order; those with a `seq` above `after`."""
        named = select(*_EVENT).join(jobs, jobs.c.number == events.c.job).where(jobs.c.id == job_id)
        query = named.where(events.c.seq > after).order_by(events.c.seq)
        return [_event(row) for row in await self._fetch(query)]

    async def logs(self, job_id: str, after: int = 0, limit: int = 1000) -> Sequence[LogLine]:
        query = select(*_LOG).where(logs.c.job_id == job_id, logs.c.seq > after).order_by(logs.c.seq).limit(limit)
        return [LogLine(**row._mapping) for row in await self._fetch(query)]

    async def workers(self) -> Sequence[Worker]:
        """The carriers that showed life in the last ten seconds, by name."""
        query = (
            select(workers).where(workers.c.seen_at >= self._now - WORKER_TTL).order_by(workers.c.name, workers.c.owner)
        )
        return [to_worker(row) for row in await self._fetch(query)]

    async def registry(self) -> Sequence[Worker]:
        """All that are remembered, by name: those that end in order are struck off, the others are lost for an hour."""
        return [to_worker(row) for row in await self._fetch(select(workers).order_by(workers.c.name, workers.c.owner))]

    async def pauses(self) -> dict[str, Pause]:
        """The queues that are not served now."""
        rows = await self._look_up(queues.PAUSES)
        return {row[0]: Pause(queue=row[0], since=row[1], until=row[2], reason=row[3]) for row in rows}

    async def starts(self, span: int, latest: int) -> tuple[dict[str, int], float]:
        """Attempts begun by queue, among the latest events, in the last `span` milliseconds; and over how many seconds.

        The seconds are fewer than the span where so many events do not reach back so far.
        """
        recent = select(events.c.queue, events.c.status, events.c.at).order_by(events.c.seq.desc()).limit(latest)
        stretch = recent.subquery()
        width = select(func.count().label("number"), (self._now - func.min(stretch.c.at)).label("age"))
        read = (await self._fetch(width.select_from(stretch)))[0]
        fresh = (stretch.c.status == State.STARTED, stretch.c.at > self._now - span)
        begun = select(stretch.c.queue, func.count().label("number")).where(*fresh).group_by(stretch.c.queue)
        starts = {row.queue: row.number for row in await self._fetch(begun)}
        return starts, max(min(span, read.age) if read.number == latest else span, 1_000) / 1000

    async def audit(self, conditions: dict[str, str], limit: int, before: int | None) -> Sequence[Entry]:
        """What operators did, the latest first; `conditions` name columns and the value that each must have."""
        query = select(audit).where(*(audit.c[name] == value for name, value in conditions.items()))
        if before is not None:
            query = query.where(audit.c.seq < before)
        return [Entry(**row._mapping) for row in await self._fetch(query.order_by(audit.c.seq.desc()).limit(limit))]

    async def now(self) -> int:
        """The database's clock, in milliseconds since the epoch."""
        return int((await self._fetch(select(self._now)))[0][0])

    async def _look_up(self, sql: str, rows: Sequence[Sequence[Any]] | None = None, **params: Any) -> Rows:
        """A small read of `statements`, past SQLAlchemy's pool and compiler: a quarter of the cost."""
        try:
            return await self._backend.fetch(Query(sql, params, rows=rows))
        except StoreUnavailable:
            self.health.failed("read")
            raise

    async def ask(self, *queries: Executable) -> builtins.list[Sequence[Row[Any]]]:
        """What these reads found, one after the other on one connection."""
        try:
            async with self.engine.connect() as connection:
                return [(await connection.execute(query)).fetchall() for query in queries]
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            self.health.failed("read")
            raise lost(getattr(error, "orig", None) or error, "the store cannot be read now") from error

    async def _fetch(self, query: Executable) -> Sequence[Row[Any]]:
        return (await self.ask(query))[0]

    def _job(self) -> builtins.list[ColumnElement[Any]]:
        """The columns of a `Job`, as `statements.GET` shows them."""
        over = and_(jobs.c.result.is_not(None), jobs.c.finished_at < self._now - self.result_age)
        shown = {
            "result": case((over, None), else_=jobs.c.result),
            "result_expired": case((over, 1), else_=jobs.c.result_expired),
        }
        return [shown.get(name, jobs.c[name]) for name in Job.__struct_fields__]

    def _listed(self, full: bool) -> builtins.list[ColumnElement[Any]]:
        """The same as lists show them: a page has hundreds, and each may have megabytes."""
        columns = dict(zip(Job.__struct_fields__, self._job(), strict=True))
        columns["error_trace"] = null()
        for name in () if full else ("arguments", "result"):
            columns[name] = case((func.length(columns[name]) > SHORT, LEFT_OUT), else_=columns[name])
        return [*columns.values()]

    def _page(
        self, columns: Sequence[ColumnElement[Any]], wanted: Filter, limit: int, before: str | None
    ) -> Select[Any]:
        query = select(*columns).where(*self._conditions(wanted)).order_by(jobs.c.id.desc()).limit(limit)
        return query if before is None else query.where(jobs.c.id < before)

    def _conditions(self, wanted: Filter) -> Sequence[ColumnElement[bool] | TextClause]:
        sets = [(jobs.c.status, wanted.status), (jobs.c.task, wanted.task), (jobs.c.queue, wanted.queue)]
        found: builtins.list[ColumnElement[bool] | TextClause] = [
            column.in_(values) for column, values in sets if values
        ]
        bounds = [
            (jobs.c.created_at, wanted.created_after, wanted.created_before),
            (jobs.c.finished_at, wanted.finished_after, wanted.finished_before),
        ]
        for column, low, high in bounds:
            found += [column >= low] if low is not None else []
            found += [column < high] if high is not None else []
        if wanted.retry_of is not None:
            found.append(jobs.c.retry_of == wanted.retry_of)
        if wanted.held is not None:
            found.append(jobs.c.held == int(wanted.held))
        if wanted.tag is not None:
            found.append(_HAS_TAG[self.engine.dialect.name].bindparams(tag=wanted.tag))
        return found


#: Whether `jobs.tags`, a JSON list of texts, holds exactly this one. A LIKE over the list's text would find `prod` for
#: `Prod` on SQLite, and `eu` in the tag `x"eu`.
_HAS_TAG = {
    "sqlite": text("EXISTS (SELECT 1 FROM json_each(jobs.tags) AS tag WHERE tag.value = :tag)"),
    "postgresql": text("jsonb_exists(CAST(jobs.tags AS jsonb), :tag)"),
}


def _event(row: Row[Any]) -> Event:
    return Event(**{**row._mapping, "status": State(row.status)})


def to_worker(row: Row[Any]) -> Worker:
    values = dict(row._mapping)
    lists = {name: tuple(json.loads(values[name])) for name in ("queues", "tasks")}
    flags = {name: bool(values[name]) for name in ("draining", "deaf")}
    return Worker(**{**values, **lists, **flags, "versions": json.loads(values["versions"])})
