"""The SQL of bulk actions: their progress, and what is done to many jobs in one statement.

A chunk of jobs is changed and its progress saved in one transaction, which begins with RENEW: the statements on jobs
change nothing once another process has taken the action over. So a job is counted exactly when it was changed, whatever
process is killed in between.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.bulk import Action, Bulk
from tasks.store import statements
from tasks.store.statements import FINAL, JOB, WAITING, table

_BULK = ", ".join(Bulk.__struct_fields__)
_OWNED = "id = :id AND owner = :owner AND state = 'running'"
_IDS = f"(SELECT id FROM {table(id='TEXT')} AS s WHERE EXISTS (SELECT 1 FROM bulks WHERE bulks.{_OWNED}))"

BEGIN = f"""
INSERT INTO bulks (id, action, filter, target, state, total, cursor, owner, lease_until, created_at)
VALUES (:id, :action, :filter, :target, 'running', :total, :id, :owner, {{now}} + :lease, {{now}}) RETURNING {_BULK}"""
READ = f"SELECT {_BULK} FROM bulks WHERE id = :id"
LATEST = f"SELECT {_BULK} FROM bulks ORDER BY id DESC LIMIT :n"
#: One whose process has gone on to other things; nobody else touches it while its lease lasts.
TAKE_OVER = f"""
UPDATE bulks SET owner = :owner, lease_until = {{now}} + :lease WHERE id IN (
    SELECT id FROM bulks WHERE state = 'running' AND lease_until < {{now}} ORDER BY id LIMIT 1)
    AND state = 'running' AND lease_until < {{now}} RETURNING {_BULK}"""
#: Keeps other processes from taking over until the transaction ends.
RENEW = f"UPDATE bulks SET lease_until = {{now}} + :lease WHERE {_OWNED} RETURNING id"
_VISITED = "done + :done + skipped + :skipped + failed + :failed"
#: Returns nothing where another process has taken over. The total that was counted at the start grows with jobs that
#: came to fit the filter since, and ends as the number of jobs that were visited.
PROGRESS = f"""
UPDATE bulks SET done = done + :done, skipped = skipped + :skipped, failed = failed + :failed,
    total = CASE WHEN :state = 'done' OR total < {_VISITED} THEN {_VISITED} ELSE total END,
    message = COALESCE(:message, message), cursor = :cursor, state = :state, lease_until = {{now}} + :lease,
    finished_at = CASE :state WHEN 'running' THEN NULL ELSE {{now}} END
WHERE {_OWNED} RETURNING {_BULK}"""
FORGET = "DELETE FROM bulks WHERE state <> 'running' AND finished_at < {now} - :age"

_PURGE = f"""
UPDATE jobs SET status = 'REVOKED', finished_at = {{now}}, cancel_requested_at = {{now}}, rank = NULL,
    waits_for = NULL, rung_at = NULL,
    error_code = 'cancelled', error_type = NULL, error_message = 'purged from its queue before it started'
WHERE id IN {_IDS} AND status IN {WAITING} RETURNING {JOB}"""
_MOVE = f"""
UPDATE jobs SET queue = :target, waits_for = NULL, rung_at = NULL
WHERE id IN {_IDS} AND status IN {WAITING} AND queue <> :target RETURNING {JOB}"""


def _of_many(sql: str) -> str:
    """A statement that changes one job, for many."""
    return sql.replace("WHERE id = :id", f"WHERE id IN {_IDS}")


#: rows: [id]. Each returns the jobs that it changed.
CHANGES: Mapping[Action, str] = {
    Action.CANCEL: _of_many(statements.CANCEL),
    Action.HOLD: _of_many(statements.HOLD),
    Action.RELEASE: _of_many(statements.RELEASE),
    Action.PURGE: _PURGE,
    Action.MOVE: _MOVE,
}
#: What the counters have not read yet must stay: a job goes only once all that happened to it is counted.
_UNCOUNTED = """EXISTS (SELECT 1 FROM events AS e WHERE e.job = jobs.number AND NOT EXISTS (
    SELECT 1 FROM cursors AS c WHERE c.name = 'tallies' AND (e.txid, e.seq) <= (c.txid, c.seq)))"""
DELETE_EVENTS = f"""
DELETE FROM events WHERE job IN (
    SELECT number FROM jobs WHERE id IN {_IDS} AND status IN {FINAL} AND NOT {_UNCOUNTED})"""
#: The first of the three decides: the others may see a later moment, and follow it by what it left.
_BARE = f"id IN {_IDS} AND status IN {FINAL} AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.job = jobs.number)"
DELETE_LOGS = f"DELETE FROM logs WHERE job_id IN (SELECT id FROM jobs WHERE {_BARE})"
DELETE = f"DELETE FROM jobs WHERE {_BARE} RETURNING id"
LEFT = f"SELECT id FROM jobs WHERE id IN (SELECT id FROM {table(id='TEXT')} AS s)"
