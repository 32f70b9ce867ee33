"""Reads what the record holds now, in figures. Judges nothing."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, text

from tasks.inventory import RECENT, RECENT_EVENTS, Holding, Inventory, Outcome, Planned, Waiting
from tasks.store.reader import Reader, to_worker
from tasks.store.schema import pauses, schedules, workers
from tasks.store.statements import WAITING, due

# Both halves are read by a partial index: jobs that have ended stand in none of them.
_COLUMNS = "id, queue, task, limit_name, rank, due_at, rung_at, attempt"
_DELAYED = f"rank IS NULL AND held = 0 AND status IN {WAITING}"
_WAITING = text(f"""SELECT queue, task, count(*) AS jobs, count(rank) AS due,
    min(CASE WHEN rank IS NOT NULL THEN due_at END) AS due_since, count(rung_at) AS rung,
    min(CASE WHEN rank IS NOT NULL AND limit_name = '' THEN due_at END) AS plain_since,
    max(attempt) AS attempts, min(id) AS example
    FROM (SELECT * FROM {due(_COLUMNS)} UNION ALL SELECT {_COLUMNS} FROM jobs WHERE {_DELAYED}) AS w
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
