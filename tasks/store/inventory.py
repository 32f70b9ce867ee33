"""What the record holds now, in figures: for whoever compares it with brokers and workers. Judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, text

from tasks.store.reader import Reader, to_worker
from tasks.store.schema import pauses, schedules, workers
from tasks.store.statements import WAITING
from tasks.worker import Worker

#: How many of the latest events are read for what fails, and how old one may be, in milliseconds.
RECENT_EVENTS = 20_000
RECENT = 3_600_000


class Waiting(Struct, frozen=True, kw_only=True):
    """The waiting jobs of one queue and task that are not held. Moments are milliseconds, None for none.

    `due` counts those that could start; `plain_since` is since when one is due that must pass no limit; `attempts` is
    the most that one of them has behind it; `example` is the oldest one's id.
    """

    queue: str
    task: str
    jobs: int
    due: int
    due_since: int | None
    rung: int
    plain_since: int | None
    attempts: int
    example: str


class Holding(Struct, frozen=True, kw_only=True):
    """The running jobs of one owner; `lease_until` is the first end of a lease."""

    owner: str
    jobs: int
    lease_until: int


class Outcome(Struct, frozen=True, kw_only=True):
    """Attempts of one task that ended alike lately; `message` and `job_id` are the last one's."""

    task: str
    status: str
    error_code: str | None
    error_type: str | None
    count: int
    message: str | None
    job_id: str


class Planned(Struct, frozen=True, kw_only=True):
    """A schedule that stands: when it fires next, why it is paused, what kept it from making its last job."""

    name: str
    timezone: str
    cron: bool
    enabled: bool
    paused: str | None
    next_at: int | None
    error: str | None


class Inventory(Struct, frozen=True, kw_only=True):
    """The record at `now`. `unstaged_since`, `unexpired_since`: the oldest moment that upkeep has let pass;
    `oldest_end`: when the job with the oldest row ended, None while it has not; `paused`: each paused queue, and
    until when."""

    now: int
    workers: Sequence[Worker]
    waiting: Sequence[Waiting]
    running: Sequence[Holding]
    outcomes: Sequence[Outcome]
    unstaged_since: int | None
    unexpired_since: int | None
    oldest_end: int | None
    paused: Mapping[str, int | None] = {}
    schedules: Sequence[Planned] = ()


# Both halves are read by a partial index: jobs that have ended stand in none of them.
_COLUMNS = "id, queue, task, limit_name, rank, due_at, rung_at, attempt"
_DUE = "rank IS NOT NULL"
_DELAYED = f"rank IS NULL AND held = 0 AND status IN {WAITING}"
_WAITING = text(f"""SELECT queue, task, count(*) AS jobs, count(rank) AS due,
    min(CASE WHEN rank IS NOT NULL THEN due_at END) AS due_since, count(rung_at) AS rung,
    min(CASE WHEN rank IS NOT NULL AND limit_name = '' THEN due_at END) AS plain_since,
    max(attempt) AS attempts, min(id) AS example
    FROM (SELECT {_COLUMNS} FROM jobs WHERE {_DUE} UNION ALL SELECT {_COLUMNS} FROM jobs WHERE {_DELAYED}) AS w
    GROUP BY queue, task ORDER BY queue, task""")
_RUNNING = text("""SELECT owner, count(*) AS jobs, min(lease_until) AS lease_until FROM jobs
    WHERE status = 'STARTED' GROUP BY owner ORDER BY owner""")
_OUTCOMES = text("""SELECT g.task, g.status, g.error_code, g.error_type, g.count, e.error_message AS message,
        j.id AS job_id
    FROM (SELECT task, status, error_code, error_type, count(*) AS count, max(seq) AS last FROM events
        WHERE seq > (SELECT max(seq) FROM events) - :events AND was = 'STARTED' AND at > :after
        GROUP BY task, status, error_code, error_type) AS g
    JOIN events AS e ON e.seq = g.last JOIN jobs AS j ON j.number = e.job
    ORDER BY g.count DESC, g.task LIMIT 100""")
_UNSTAGED = text(f"SELECT min(due_at) FROM jobs WHERE {_DELAYED}")
_UNEXPIRED = text(f"SELECT min(expires_at) FROM jobs WHERE expires_at IS NOT NULL AND status IN {WAITING}")
_OLDEST = text("SELECT finished_at FROM jobs ORDER BY id LIMIT 1")


async def inventory_of(reader: Reader) -> Inventory:
    """What there is. Raises StoreUnavailable."""
    now = await reader.now()
    recent = _OUTCOMES.bindparams(events=RECENT_EVENTS, after=now - RECENT)
    registry, waiting, running, outcomes, unstaged, unexpired, oldest, paused, planned = await reader.ask(
        workers.select().order_by(workers.c.name, workers.c.owner),
        _WAITING,
        _RUNNING,
        recent,
        _UNSTAGED,
        _UNEXPIRED,
        _OLDEST,
        pauses.select().where(pauses.c.until.is_(None) | (pauses.c.until > now)),
        schedules.select().where(schedules.c.deleted_at.is_(None)).order_by(schedules.c.name),
    )
    return Inventory(
        now=now,
        workers=[to_worker(row) for row in registry],
        waiting=[Waiting(**row._mapping) for row in waiting],
        running=[Holding(**row._mapping) for row in running],
        outcomes=[Outcome(**row._mapping) for row in outcomes],
        unstaged_since=_passed(unstaged[0][0], now),
        unexpired_since=_passed(unexpired[0][0], now),
        oldest_end=oldest[0][0] if oldest else None,
        paused={row.queue: row.until for row in paused},
        schedules=[_planned(row) for row in planned],
    )


def _planned(row: Row[Any]) -> Planned:
    spec = msgspec.json.decode(row.spec)
    return Planned(
        name=row.name,
        timezone=spec.get("timezone") or "UTC",
        cron="cron" in spec,
        enabled=bool(row.enabled),
        paused=row.paused,
        next_at=row.next_at,
        error=row.error,
    )


def _passed(moment: int | None, now: int) -> int | None:
    return moment if moment is not None and moment <= now else None
