"""The SQL of bulk actions: their progress, and what is done to many jobs in one statement."""

from __future__ import annotations

from tasks.bulk import Bulk
from tasks.store.statements import FINAL, WAITING, table

_BULK = ", ".join(Bulk.__struct_fields__)
_IDS = f"(SELECT id FROM {table(id='TEXT')} AS s)"

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
#: Returns nothing where another process has taken over.
PROGRESS = f"""
UPDATE bulks SET done = done + :done, skipped = skipped + :skipped, failed = failed + :failed,
    message = COALESCE(:message, message), cursor = :cursor, state = :state, lease_until = {{now}} + :lease,
    finished_at = CASE :state WHEN 'running' THEN NULL ELSE {{now}} END
WHERE id = :id AND owner = :owner AND state = 'running' RETURNING {_BULK}"""
FORGET = "DELETE FROM bulks WHERE state <> 'running' AND finished_at < {now} - :age"

#: rows: [id]. Each returns the ids that it changed; the first two, the names of their limits as well.
PURGE = f"""
UPDATE jobs SET status = 'REVOKED', finished_at = {{now}}, cancel_requested_at = {{now}}, rank = NULL,
    waits_for = NULL, rung_at = NULL,
    error_code = 'cancelled', error_type = NULL, error_message = 'purged from its queue before it started'
WHERE id IN {_IDS} AND status IN {WAITING} RETURNING id, limit_name"""
MOVE = f"""
UPDATE jobs SET queue = :target, waits_for = NULL, rung_at = NULL
WHERE id IN {_IDS} AND status IN {WAITING} AND queue <> :target RETURNING id, limit_name"""
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
LEFT = f"SELECT id FROM jobs WHERE id IN {_IDS}"
