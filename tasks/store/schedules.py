"""The SQL of schedules and their fire times; see `statements` for its marks.

A fire time is decided in one transaction: the schedule moves on, if it still stands where it was looked at; the rows
of `fires` are written, each once for all time; and the jobs of just those rows.
"""

from __future__ import annotations

from tasks.schedule import Overlap, Schedule
from tasks.store.statements import ACCEPT, table

#: The columns of a `Schedule`, in the order of its fields.
COLUMNS = ", ".join(f"schedules.{name}" for name in Schedule.__struct_fields__)

_ROW = {
    **dict.fromkeys(("id", "name", "spec", "declared", "origin"), "TEXT"),
    "enabled": "SMALLINT",
    "anchor": "BIGINT",
    "next_at": "BIGINT",
}
FORGET_DELETED = "DELETE FROM schedules WHERE name = :name AND deleted_at IS NOT NULL"
#: rows: the columns of _ROW. Returns nothing where the name is taken.
ADD = f"""
INSERT INTO schedules (id, name, spec, declared, origin, enabled, paused, anchor, next_at, created_at, updated_at)
SELECT id, name, spec, declared, origin, enabled, CASE enabled WHEN 0 THEN 'operator' END, anchor, next_at, {{now}},
    {{now}} FROM {table(**_ROW)} AS n WHERE true ON CONFLICT DO NOTHING RETURNING {COLUMNS}"""

GET = f"SELECT {COLUMNS} FROM schedules WHERE (id = :key OR name = :key) AND deleted_at IS NULL"
LIST = f"SELECT {COLUMNS} FROM schedules WHERE name > :after AND deleted_at IS NULL ORDER BY name LIMIT :n"
DECLARED = f"SELECT {COLUMNS} FROM schedules WHERE name = :key"

#: rows: [id, version, name, spec, declared, anchor, next_at]. What somebody else has changed meanwhile is not touched.
CHANGE = f"""
UPDATE schedules SET name = s.name, spec = s.spec, declared = s.declared, anchor = s.anchor, next_at = s.next_at,
    version = schedules.version + 1, error = NULL, updated_at = {{now}}
FROM {table(id="TEXT", version="INTEGER", name="TEXT", spec="TEXT", declared="TEXT", anchor="BIGINT", next_at="BIGINT")}
    AS s
WHERE schedules.id = s.id AND schedules.version = s.version AND deleted_at IS NULL RETURNING {COLUMNS}"""

#: rows: [id, version, next_at]. An operator's word ends the count of failures that led to a pause.
RESUME = f"""
UPDATE schedules SET enabled = 1, paused = NULL, next_at = s.next_at, failures = 0, counted_from = {{now}},
    version = schedules.version + 1, updated_at = {{now}}
FROM {table(id="TEXT", version="INTEGER", next_at="BIGINT")} AS s
WHERE schedules.id = s.id AND schedules.version = s.version AND deleted_at IS NULL RETURNING {COLUMNS}"""
PAUSE = f"""
UPDATE schedules SET enabled = 0, paused = 'operator', version = version + 1, updated_at = {{now}}
WHERE id = :id AND deleted_at IS NULL RETURNING {COLUMNS}"""

DELETE = f"DELETE FROM schedules WHERE id = :id AND declared IS NULL AND deleted_at IS NULL RETURNING {COLUMNS}"
BURY = f"""
UPDATE schedules SET deleted_at = {{now}}, enabled = 0, next_at = NULL, version = version + 1
WHERE id = :id AND declared IS NOT NULL AND deleted_at IS NULL RETURNING {COLUMNS}"""
DELETE_FIRES = "DELETE FROM fires WHERE schedule_id = :id"

#: Milliseconds until the next fire time; NULL when none is to come.
NEXT_FIRE = "SELECT min(next_at) - {now} FROM schedules WHERE enabled = 1"

_BUSY = """EXISTS (SELECT 1 FROM fires JOIN jobs ON jobs.id = fires.job_id
    WHERE fires.schedule_id = schedules.id AND fires.open = 1 AND jobs.finished_at IS NULL)"""
_QUEUED = "EXISTS (SELECT 1 FROM fires WHERE fires.schedule_id = schedules.id AND fires.outcome = 'queued')"
#: The schedules whose fire time has come, each with whether it is busy, whether a fire time is queued, and the clock.
DUE = f"""
SELECT {COLUMNS}, CASE WHEN {_BUSY} THEN 1 ELSE 0 END, CASE WHEN {_QUEUED} THEN 1 ELSE 0 END, {{now}}
FROM schedules WHERE enabled = 1 AND next_at <= {{now}} ORDER BY next_at LIMIT :n"""

#: rows: [id]. In one order, so that two transactions never wait for each other's rows.
LOCK = f"SELECT id FROM schedules WHERE id IN (SELECT id FROM {table(id='TEXT')} AS s) ORDER BY id {{lock}}"
_MOVE = {
    **dict.fromkeys(("id", "error"), "TEXT"),
    "version": "INTEGER",
    **dict.fromkeys(("was", "next_at", "missed", "skipped"), "BIGINT"),
}
#: rows: the columns of _MOVE. The fence: only from where the schedule stood when it was looked at.
MOVE = f"""
UPDATE schedules SET next_at = s.next_at, missed = schedules.missed + s.missed, token = :token, error = s.error,
    skipped = schedules.skipped + s.skipped
FROM {table(**_MOVE)} AS s
WHERE schedules.id = s.id AND schedules.version = s.version AND schedules.next_at = s.was AND schedules.enabled = 1
RETURNING schedules.id"""
#: Marks one schedule for rows that are written beside its times: a run by hand, a backfill.
MARK = "UPDATE schedules SET token = :token, version = version + 1 WHERE id = :id AND deleted_at IS NULL RETURNING id"

_FIRE = {
    **dict.fromkeys(("schedule_id", "outcome", "cause", "job_id", "status", "reason"), "TEXT"),
    "fire_at": "BIGINT",
    "open": "SMALLINT",
}
#: rows: the columns of _FIRE. Only for schedules that this transaction has moved; a fire time that is decided stays so.
DECIDE = f"""
INSERT INTO fires (schedule_id, fire_at, outcome, cause, job_id, open, status, reason, decided_at, decided_by)
SELECT f.schedule_id, f.fire_at, f.outcome, f.cause, f.job_id, f.open, f.status, f.reason, {{now}}, :owner
FROM {table(**_FIRE)} AS f JOIN schedules ON schedules.id = f.schedule_id AND schedules.token = :token
WHERE true ON CONFLICT DO NOTHING RETURNING schedule_id, fire_at, job_id"""
#: rows: [schedule_id, fire_at]. A later fire time takes the place of those that wait.
SUPERSEDE = f"""
UPDATE fires SET outcome = 'skipped', reason = 'a later fire time took its place'
FROM {table(id="TEXT", at="BIGINT")} AS s WHERE fires.schedule_id = s.id AND fires.fire_at < s.at
    AND fires.outcome = 'queued' AND EXISTS (SELECT 1 FROM fires AS d WHERE d.schedule_id = s.id AND d.fire_at = s.at)
RETURNING fires.fire_at"""
#: The jobs of those fire times that this transaction decided.
MAKE_JOBS = ACCEPT.replace("WHERE true", "WHERE EXISTS (SELECT 1 FROM fires WHERE fires.job_id = n.id)")

_MINE = f"FROM {table(job_id='TEXT', label='TEXT')} AS m JOIN fires AS f ON f.job_id = m.job_id"
#: rows: [job_id, bucket]. What this transaction has fired, counted.
COUNT = f"""
UPDATE schedules SET fired = schedules.fired + c.number,
    last_at = CASE WHEN c.latest >= COALESCE(schedules.last_at, 0) THEN c.latest ELSE schedules.last_at END,
    last_job = CASE WHEN c.latest >= COALESCE(schedules.last_at, 0) THEN (SELECT l.job_id FROM fires AS l
        WHERE l.schedule_id = schedules.id AND l.fire_at = c.latest) ELSE schedules.last_job END
FROM (SELECT f.schedule_id, count(*) AS number, max(f.fire_at) AS latest {_MINE} GROUP BY f.schedule_id) AS c
WHERE schedules.id = c.schedule_id RETURNING schedules.id"""
LATENESS = f"""
INSERT INTO lateness (label, count, total)
SELECT m.label, count(*), sum(({{now}} - f.fire_at) / 1000.0) {_MINE} WHERE f.cause = 'time' GROUP BY m.label
ON CONFLICT (label) DO UPDATE SET count = lateness.count + excluded.count, total = lateness.total + excluded.total"""

#: Followed fire times whose job has ended, with what their schedule says.
ENDED = """
SELECT fires.schedule_id, schedules.name, schedules.spec FROM fires JOIN schedules ON schedules.id = fires.schedule_id
WHERE fires.open = 1 AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE jobs.id = fires.job_id AND jobs.finished_at IS NULL) LIMIT :n"""
#: rows: [id].
CLOSE = f"""
UPDATE fires SET open = 0,
    status = COALESCE((SELECT jobs.status FROM jobs WHERE jobs.id = fires.job_id), 'GONE')
WHERE open = 1 AND schedule_id IN (SELECT id FROM {table(id="TEXT")} AS s) AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE jobs.id = fires.job_id AND jobs.finished_at IS NULL) RETURNING schedule_id"""
#: rows: [id]. How many fire times in a row have failed, counted anew each time: so nothing is counted twice.
FAILURES = f"""
UPDATE schedules SET failures = (SELECT count(*) FROM fires WHERE fires.schedule_id = schedules.id
    AND fires.status = 'FAILURE' AND fires.decided_at > schedules.counted_from
    AND fires.fire_at > COALESCE((SELECT max(l.fire_at) FROM fires AS l WHERE l.schedule_id = schedules.id
        AND l.status = 'SUCCESS'), 0))
WHERE id IN (SELECT id FROM {table(id="TEXT")} AS s) RETURNING id"""
#: rows: [id, limit].
PAUSE_FAILED = f"""
UPDATE schedules SET enabled = 0, paused = 'failures', version = schedules.version + 1
FROM {table(id="TEXT", bound="INTEGER")} AS s
WHERE schedules.id = s.id AND schedules.failures >= s.bound AND schedules.enabled = 1
RETURNING schedules.name, schedules.failures"""

_WAITING = "FROM fires JOIN schedules ON schedules.id = fires.schedule_id"
ANY_QUEUED = "SELECT 1 FROM fires WHERE outcome = 'queued' LIMIT 1"
#: Queued fire times whose schedule has no running job any more, the oldest first. Those of busy schedules are left out
#: here and not by the reader: more of them than :n would hide the others.
PROMOTABLE = f"""
SELECT {COLUMNS}, fires.fire_at {_WAITING}
WHERE fires.outcome = 'queued' AND NOT {_BUSY} ORDER BY fires.fire_at LIMIT :n"""
#: The running jobs that a queued fire time replaces and that nobody has asked to stop yet, the oldest first.
IN_THE_WAY = f"""
SELECT {COLUMNS}, jobs.id {_WAITING} JOIN fires AS running ON running.schedule_id = schedules.id
    JOIN jobs ON jobs.id = running.job_id
WHERE fires.outcome = 'queued' AND schedules.spec{{as_json}} ->> 'overlap' = '{Overlap.CANCEL}' AND running.open = 1
    AND jobs.finished_at IS NULL AND jobs.cancel_requested_at IS NULL ORDER BY running.fire_at LIMIT :n"""
#: rows: [schedule_id, fire_at, job_id].
PROMOTE = f"""
UPDATE fires SET outcome = 'fired', job_id = s.job_id, open = 1, reason = NULL, decided_at = {{now}},
    decided_by = :owner
FROM {table(schedule_id="TEXT", fire_at="BIGINT", job_id="TEXT")} AS s
WHERE fires.schedule_id = s.schedule_id AND fires.fire_at = s.fire_at AND fires.outcome = 'queued'
RETURNING fires.job_id"""
#: rows: [schedule_id, fire_at, reason]. A queued fire time that cannot be a job any more.
REFUSE = f"""
UPDATE fires SET outcome = 'refused', status = 'FAILURE', reason = s.reason
FROM {table(schedule_id="TEXT", fire_at="BIGINT", reason="TEXT")} AS s
WHERE fires.schedule_id = s.schedule_id AND fires.fire_at = s.fire_at AND fires.outcome = 'queued'
RETURNING fires.schedule_id"""

HISTORY = """
SELECT fire_at, outcome, cause, fires.job_id, COALESCE(fires.status, jobs.status), reason, decided_at, decided_by
FROM fires LEFT JOIN jobs ON jobs.id = fires.job_id WHERE schedule_id = :id ORDER BY fire_at DESC LIMIT :n"""
#: Which of the times from `:n0` to `:n1` are decided.
DECIDED = "SELECT fire_at FROM fires WHERE schedule_id = :id AND fire_at >= :n0 AND fire_at <= :n1"
COUNTERS = """
SELECT name, fired, missed, skipped, CASE enabled WHEN 1 THEN next_at - {now} END
FROM schedules WHERE deleted_at IS NULL ORDER BY name LIMIT :n"""
READ_LATENESS = "SELECT label, count, total FROM lateness"
FORGET_FIRES = """
DELETE FROM fires WHERE decided_at < {now} - :age AND open = 0 AND outcome <> 'queued' RETURNING fire_at"""
