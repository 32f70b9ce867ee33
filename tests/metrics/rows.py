"""Real rows for the schema's own triggers to make events of: what a store's moves do, in plain SQL."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tasks.job import WAITING

NOW = 1_700_000_000_000

_number = itertools.count(1)

_INSERT = text(
    """INSERT INTO jobs (id, task, queue, priority, status, mode, arguments, max_retries, max_losses, created_at,
    due_at, rank) VALUES (:id, :task, :queue, 5, 'PENDING', 'thread', '[[], {}]', 3, 3, :created, :due, :rank)"""
)
_CLAIM = text(
    """UPDATE jobs SET status = 'STARTED', attempt = attempt + 1, owner = 'me', rank = NULL, runtime = NULL,
    started_at = CAST(:started AS BIGINT), lease_until = CAST(:started AS BIGINT) + 60000 WHERE id = :id"""
)
_END = text(
    """UPDATE jobs SET status = :status, owner = NULL, lease_until = NULL, runtime = :runtime, due_at = :due,
    finished_at = :finished, rank = :rank, error_code = :code, error_type = :type WHERE id = :id"""
)
_REVOKE = text("UPDATE jobs SET status = 'REVOKED', finished_at = :at, rank = NULL, error_code = :code WHERE id = :id")


async def insert(connection: AsyncConnection, pairs: Sequence[tuple[str, str]], due: int = NOW) -> list[str]:
    """Accept a job of each (task, queue); their ids."""
    ids = [f"job-{next(_number):09}" for _ in pairs]
    rows = [
        {"id": job_id, "task": task, "queue": queue, "created": NOW, "due": due, "rank": due}
        for job_id, (task, queue) in zip(ids, pairs, strict=True)
    ]
    await connection.execute(_INSERT, rows)
    return ids


async def claim(connection: AsyncConnection, ids: Sequence[str], wait: float = 0.0) -> None:
    await connection.execute(_CLAIM, [{"id": job_id, "started": NOW + round(wait * 1000)} for job_id in ids])


async def end(connection: AsyncConnection, ids: Sequence[str], status: str = "SUCCESS", **values: Any) -> None:
    """`runtime` in seconds, `code` and `type` of the error."""
    waits = {"finished": None, "rank": NOW} if status in WAITING else {"finished": NOW, "rank": None}
    row = {"runtime": None, "code": None, "type": None, "due": NOW, **waits, **values, "status": status}
    await connection.execute(_END, [{**row, "id": job_id} for job_id in ids])


async def revoke(connection: AsyncConnection, ids: Sequence[str], code: str) -> None:
    """End jobs that wait."""
    await connection.execute(_REVOKE, [{"id": job_id, "at": NOW, "code": code} for job_id in ids])


async def run(engine: AsyncEngine, task: str, number: int, queue: str = "default", **values: Any) -> None:
    """`number` jobs of a task, accepted, claimed and ended; three events each. `values` go to `end`."""
    async with engine.begin() as connection:
        ids = await insert(connection, [(task, queue)] * number)
        await claim(connection, ids, wait=values.pop("wait", 0.0))
        await end(connection, ids, **{"runtime": 0.25, **values})
