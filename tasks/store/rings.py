"""The SQL of ringing the doorbell: which due jobs a broker is told of, and which rings nobody answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tasks.store.backend import Item, Query, Rows, Then
from tasks.store.statements import CANDIDATE_QUEUES, MANY, WAITING, best, names, table

_RUNG = "RETURNING id, task, queue, rank"


def ring(queues: list[list[str]], skipped: int = 0) -> str:
    """Marks as rung the best candidates of `queues` that are not, `:n` in all, and at most `:n0`, `:n1` … of each."""
    chosen = f"SELECT number FROM ({best(queues, skipped, ' AND rung_at IS NULL', 'n{}')}) AS chosen"
    return f"""UPDATE jobs SET rung_at = {{now}} WHERE number {{among (}}{chosen}{{)}}
    AND rank IS NOT NULL AND rung_at IS NULL {_RUNG}"""


def program(order: Sequence[Sequence[str]], credit: Mapping[str, int], skipped: Sequence[str]) -> list[Item]:
    """Marks candidates as `ring` does, as many of each queue as its credit allows; the last answer holds the rows."""
    if sum(map(len, order)) <= MANY:
        return [_ring_of(order, credit, skipped)]

    def found(rows: Rows) -> Query | None:
        there = {row[0] for row in rows}
        groups = [[queue for queue in group if queue in there] for group in order]
        return _ring_of(groups, credit, skipped) if any(groups) else None

    return [Query(CANDIDATE_QUEUES), Then(found)]


def _ring_of(order: Sequence[Sequence[str]], credit: Mapping[str, int], skipped: Sequence[str]) -> Query:
    queues = [queue for group in order for queue in group]
    values: dict[str, Any] = {f"q{n}": queue for n, queue in enumerate(queues)}
    values |= {f"n{n}": credit[queue] for n, queue in enumerate(queues)}
    sql = _text(tuple(len(group) for group in order), len(skipped))
    return Query(sql, {**values, **names(skipped), "n": max(credit.values())})


@lru_cache(64)
def _text(sizes: tuple[int, ...], skipped: int) -> str:
    return ring([[""] * size for size in sizes], skipped)


#: How many rings of each queue are unanswered.
RUNG = "SELECT queue, count(*) AS number FROM jobs WHERE rung_at IS NOT NULL GROUP BY queue"
#: rows: [queue]. Take back the rings there that are older than `:age` milliseconds.
RERING = f"""
UPDATE jobs SET rung_at = NULL WHERE queue IN (SELECT queue FROM {table(queue="TEXT")} AS q)
    AND rung_at IS NOT NULL AND rung_at < {{now}} - :age RETURNING id"""
#: rows: [id]. Take back the rings of these.
UNRING = f"""
UPDATE jobs SET rung_at = NULL WHERE id IN (SELECT id FROM {table(id="TEXT")} AS s) AND rung_at IS NOT NULL
    AND status IN {WAITING}"""
