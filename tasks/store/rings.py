"""The SQL of ringing the doorbell: which due jobs a broker is told of, and which rings nobody answered."""

from __future__ import annotations

from tasks.store.statements import (
    AWAITED,
    CLAIMABLE,
    LIMITED_TASK,
    PASSABLE,
    SERVED,
    WAITING,
    left_out,
    table,
    unless_paused,
)

_RUNG = "RETURNING id, task, queue, rank"


def ring(queues: list[list[str]], skipped: int = 0) -> str:
    """Mark as rung the best unrung jobs of `queues`, at most `:n0`, `:n1` … of each and `:n` in all; see `take`."""
    branches = [
        f"SELECT * FROM (SELECT number, {level} AS level, rank FROM jobs WHERE queue = :q{n} AND limit_name = '' "
        f"AND {CLAIMABLE} AND rung_at IS NULL{left_out(skipped)} "
        f"ORDER BY rank, number LIMIT {unless_paused(f':q{n}', f':n{n}')} {{skip_locked}}) AS b{n}"
        for n, level in enumerate(level for level, group in enumerate(queues) for _ in group)
    ]
    best = f"SELECT number FROM ({' UNION ALL '.join(branches)}) AS best ORDER BY level, rank, number LIMIT :n"
    chosen = f"number {{among (}}{best}{{)}} AND rank IS NOT NULL AND rung_at IS NULL"
    return f"UPDATE jobs SET rung_at = {{now}} WHERE {chosen} {_RUNG}"


def ring_limited(skipped: int = 0) -> str:
    """rows: [queue]. Ring for the best job of each limit that is free now and has no ring out; see `let_pass`."""
    return f"""
UPDATE jobs SET rung_at = {{now}} WHERE number {{among (}}
    SELECT (SELECT w.number FROM jobs AS w WHERE w.queue IN {SERVED}
        AND w.limit_name = limits.name AND w.rank IS NOT NULL AND (w.expires_at IS NULL OR w.expires_at > {{now}})
        ORDER BY w.rank, w.number LIMIT 1)
    FROM limits WHERE name IN {AWAITED} AND {PASSABLE}{left_out(skipped, LIMITED_TASK)}{{)}}
    AND rank IS NOT NULL AND rung_at IS NULL {_RUNG}"""


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
