"""The SQL of forgetting: results first, rows later.

It follows the events: every end stands there in the order of its time, however long the job took and whatever its id
is. Each frontier is a cursor that all processes share, and passes every event once.
"""

from __future__ import annotations

from tasks.store.statements import FINAL

#: How far `:name` has come.
FRONTIER = "SELECT seq FROM cursors WHERE name = :name"
#: Of the next `:n` events behind `:behind`: the last, and the first that is not `:age` milliseconds old.
STRETCH = """
SELECT max(seq), min(CASE WHEN at >= {now} - :age THEN seq END)
FROM (SELECT seq, at FROM events WHERE seq > :behind ORDER BY seq LIMIT :n) AS stretch"""
ADVANCE = """
INSERT INTO cursors (name, txid, seq) VALUES (:name, 0, :upto)
ON CONFLICT (name) DO UPDATE SET seq = excluded.seq WHERE cursors.seq < excluded.seq"""

_ENDED = f"(SELECT job FROM events WHERE seq > :behind AND seq <= :upto AND status IN {FINAL})"
_OLD = f"number IN {_ENDED} AND status IN {FINAL} AND finished_at < {{now}} - :age"

EXPIRE_RESULTS = f"UPDATE jobs SET result = NULL, result_expired = 1 WHERE {_OLD} AND result IS NOT NULL RETURNING id"
#: How many results of ended jobs are over, and how many are shown.
RESULTS = """
SELECT COALESCE(SUM(CASE WHEN result_expired = 1 OR finished_at < {now} - :age THEN 1 ELSE 0 END), 0), count(*)
FROM jobs WHERE finished_at IS NOT NULL AND (result IS NOT NULL OR result_expired = 1)"""
#: In this order: the events tell which jobs have ended, and go last.
DELETE_LOGS = f"DELETE FROM logs WHERE job_id IN (SELECT id FROM jobs WHERE {_OLD})"
DELETE_JOBS = f"DELETE FROM jobs WHERE {_OLD}"
DELETE_EVENTS = f"""
DELETE FROM events WHERE job IN {_ENDED} AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.number = events.job)"""
