"""The SQL of upkeep: stage, expire, reap. Any process may run it at any time."""

from __future__ import annotations

from tasks.job import REAPER
from tasks.store.statements import WAITING, rank, table

#: Milliseconds until the next delayed job is due; NULL when none is delayed.
NEXT_DUE = f"""
SELECT min(due_at) - {{now}} FROM jobs WHERE rank IS NULL AND held = 0 AND status IN {WAITING}"""

#: Ranks the delayed jobs that have come due; those with a limit wait behind it. Returns their queues and limits.
STAGE = f"""
UPDATE jobs SET rank = {rank("due_at")}, waits_for = CASE WHEN limit_name > '' THEN limit_name END
WHERE number {{among (}}SELECT number FROM jobs WHERE rank IS NULL AND held = 0 AND status IN {WAITING}
    AND due_at <= {{now}} ORDER BY due_at LIMIT :n {{skip_locked}}{{)}}
    AND rank IS NULL AND held = 0 AND status IN {WAITING} AND due_at <= {{now}}
RETURNING queue, limit_name"""

EXPIRE = f"""
UPDATE jobs SET status = 'REVOKED', finished_at = {{now}}, rank = NULL, waits_for = NULL, rung_at = NULL,
    error_code = 'expired', error_type = NULL, error_message = 'it had not started when it expired'
WHERE number {{among (}}
    SELECT number FROM jobs WHERE expires_at IS NOT NULL AND status IN {WAITING} AND expires_at <= {{now}}
    LIMIT :n {{skip_locked}}{{)}} AND status IN {WAITING} RETURNING id, limit_name"""

#: Ran out of time: its process has shown life since the limit. Of any other attempt nobody knows how far it came, even
#: if its limit has passed meanwhile: its worker was lost, and it may run again.
_OVERRAN = """(time_limit IS NOT NULL AND lease_until >= started_at + time_limit * 1000 AND EXISTS (
        SELECT 1 FROM workers WHERE workers.owner = jobs.owner AND seen_at >= jobs.started_at + time_limit * 1000))"""
_REAPED = f"""CASE WHEN cancel_requested_at IS NOT NULL THEN 'REVOKED' WHEN {_OVERRAN} THEN 'FAILURE'
    WHEN losses < max_losses THEN 'RETRY' ELSE 'FAILURE' END"""

#: End or requeue the attempts whose lease has run out. Returns id, task, status, error_code, the
#: owner that was lost, limit_name.
REAP = f"""
UPDATE jobs SET status = {_REAPED}, owner = NULL, lease_until = NULL, finished_by = '{REAPER}' || owner,
    finished_at = CASE {_REAPED} WHEN 'RETRY' THEN NULL ELSE {{now}} END,
    losses = losses + CASE WHEN cancel_requested_at IS NULL AND NOT {_OVERRAN} THEN 1 ELSE 0 END,
    failures = failures + CASE WHEN cancel_requested_at IS NULL AND {_OVERRAN} THEN 1 ELSE 0 END,
    runtime = ({{now}} - started_at) / 1000.0,
    due_at = CASE {_REAPED} WHEN 'RETRY' THEN {{now}} ELSE due_at END,
    rank = CASE {_REAPED} WHEN 'RETRY' THEN {rank("{now}")} END,
    error_code = CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled' WHEN {_OVERRAN} THEN 'timeout'
        ELSE 'worker_lost' END,
    error_type = NULL, error_trace = NULL,
    error_message = CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled; it did not stop by itself in time'
        WHEN {_OVERRAN} THEN 'it ran past its time limit and its worker, which lives, did not end it'
        ELSE 'its worker was lost: no sign of life from ' || owner END
WHERE number {{among (}}
    SELECT number FROM jobs WHERE status = 'STARTED' AND lease_until < {{now}} LIMIT :n {{skip_locked}}{{)}}
    AND status = 'STARTED' AND lease_until < {{now}}
RETURNING id, task, status, error_code, substr(finished_by, {len(REAPER) + 1}), limit_name"""

#: Who runs something now, or stands in the registry.
OWNERS = "SELECT owner FROM jobs WHERE status = 'STARTED' UNION SELECT owner FROM workers"
#: rows: [owner]. Let the leases of owners known to be dead run out at once; the reaper does the rest. A row that a dead
#: process has locked is left for the next look.
ABANDON = f"""
UPDATE jobs SET lease_until = 0
WHERE number {{among (}}
    SELECT number FROM jobs WHERE status = 'STARTED' AND owner IN (SELECT owner FROM {table(owner="TEXT")} AS s)
    {{skip_locked}}{{)}} AND status = 'STARTED' RETURNING id"""
