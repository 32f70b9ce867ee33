"""Deletes the counters of pairs of task and queue without events for a while, so that new pairs have room."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.job import FINAL, State
from tasks.store.guards import CLOCK
from tasks.store.series_limit import UNPAIRED, Pair
from tasks.store.stretch import ORDER, OTHER

_PAIRED = f"name NOT IN {UNPAIRED}"
_OPEN = tuple(state.value for state in State if state not in FINAL)

_PAIRS = f"""SELECT task, queue FROM tallies WHERE {_PAIRED} GROUP BY task, queue
    HAVING max(seen_at) < {{clock}} - CAST(:age AS BIGINT)"""
_DELETE_PAIRS = f"""DELETE FROM tallies WHERE {_PAIRED} AND (task, queue) IN (
    SELECT value->>0, value->>1 FROM {{rows}})"""

# The states of its jobs add up to the jobs ever accepted, so they move to `other`. No job of such a queue is open.
_QUEUES = f"""SELECT queue FROM tallies WHERE name = 'jobs' AND queue <> '{OTHER}' GROUP BY queue
    HAVING max(seen_at) < {{clock}} - CAST(:age AS BIGINT)
    AND sum(CASE WHEN label IN {_OPEN} THEN abs(count) ELSE 0 END) = 0"""
_IN_QUEUES = "name = 'jobs' AND queue IN (SELECT value->>0 FROM {rows})"
_MOVE_QUEUES = f"""INSERT INTO tallies (name, task, queue, label, count, total, seen_at)
    SELECT 'jobs', '', '{OTHER}', label, CAST(sum(count) AS BIGINT), 0, max(seen_at)
    FROM tallies WHERE {_IN_QUEUES} GROUP BY label
    ON CONFLICT (name, task, queue, label) DO UPDATE SET count = tallies.count + excluded.count"""
_DELETE_QUEUES = f"DELETE FROM tallies WHERE {_IN_QUEUES}"


class UnseenSeries:
    """What has had no event for `age` milliseconds."""

    def __init__(self, dialect: str, age: int) -> None:
        self._dialect = dialect
        self._age = {"age": age}

    async def found(self, connection: AsyncConnection, kept: Collection[Pair]) -> bool:
        """Whether there is anything to delete."""
        return bool(await self._pairs(connection, kept) or await self._queues(connection))

    async def delete(self, connection: AsyncConnection, kept: Collection[Pair]) -> None:
        """Deletes it, but no pair of `kept`. In the transaction that moves the cursor, or other processes miss it."""
        if pairs := await self._pairs(connection, kept):
            await self._run(connection, pairs, _DELETE_PAIRS)
        if queues := await self._queues(connection):
            await self._run(connection, queues, _MOVE_QUEUES, _DELETE_QUEUES)

    async def _pairs(self, connection: AsyncConnection, kept: Collection[Pair]) -> list[tuple[str, ...]]:
        return [tuple(row) for row in await connection.execute(self._text(_PAIRS), self._age) if tuple(row) not in kept]

    async def _queues(self, connection: AsyncConnection) -> list[tuple[str, ...]]:
        return [tuple(row) for row in await connection.execute(self._text(_QUEUES), self._age)]

    async def _run(self, connection: AsyncConnection, rows: list[tuple[str, ...]], *statements: str) -> None:
        values = {"rows": msgspec.json.encode(rows).decode()}
        for statement in statements:
            await connection.execute(self._text(statement), values)

    def _text(self, sql: str) -> TextClause:
        return text(sql.format(clock=CLOCK[self._dialect], rows=ORDER[self._dialect].rows))
