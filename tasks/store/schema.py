"""The tables, as SQLAlchemy Core sees them. Times are milliseconds since the epoch on the database's clock.

Triggers and guards, which differ by dialect, are in `guards`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

#: A rowid on SQLite (commit order, never reused), a bigserial on PostgreSQL.
_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")

#: What a row has in each state. One CASE, the commonest first: every write pays for it.
_RUNS = "owner IS NOT NULL AND lease_until IS NOT NULL AND finished_at IS NULL AND rank IS NULL AND waits_for IS NULL"
_WAITS = (
    "owner IS NULL AND lease_until IS NULL AND finished_at IS NULL AND "
    "(CASE WHEN rank IS NULL THEN waits_for IS NULL ELSE held = 0 END)"
)
_ENDED = "owner IS NULL AND lease_until IS NULL AND finished_at IS NOT NULL AND rank IS NULL AND waits_for IS NULL"
_STATES = f"""CASE status WHEN 'PENDING' THEN {_WAITS} WHEN 'STARTED' THEN {_RUNS} WHEN 'SUCCESS' THEN {_ENDED}
    WHEN 'FAILURE' THEN {_ENDED} WHEN 'RETRY' THEN {_WAITS} WHEN 'REVOKED' THEN {_ENDED} ELSE false END"""

jobs = Table(
    "jobs",
    metadata,
    # In the order of acceptance, for the store's own use: indexes and events name a job by it, a fifth of the id.
    Column("number", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("task", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("losses", Integer, nullable=False, server_default="0"),
    Column("max_retries", Integer, nullable=False),
    Column("max_losses", Integer, nullable=False),
    Column("soft_time_limit", Float),
    Column("time_limit", Float),
    Column("held", SmallInteger, nullable=False, server_default="0"),
    Column("limit_name", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("runtime", Float),
    Column("owner", Text),
    Column("finished_by", Text),
    Column("lease_until", BigInteger),
    Column("cancel_requested_at", BigInteger),
    Column("progress", Text),
    Column("result", Text),
    Column("result_expired", SmallInteger, nullable=False, server_default="0"),
    Column("error_code", Text),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("error_trace", Text),
    Column("tags", Text),
    Column("retry_of", Text),
    Column("rank", BigInteger),
    # The limit that had no room for this due job: it is no candidate until that limit has. See `claiming`.
    Column("waits_for", Text),
    Column("rung_at", BigInteger),
    Column("idempotency_key", Text),
    Column("fingerprint", Text),
    CheckConstraint("priority BETWEEN 0 AND 9", name="jobs_priority"),
    CheckConstraint(_STATES, name="jobs_states"),
)


def _partial(name: str, condition: str, *columns: Column[Any], unique: bool = False) -> None:
    Index(name, *columns, unique=unique, sqlite_where=text(condition), postgresql_where=text(condition))


# Every index but the key is partial: a job that has ended, the bulk of the table, stands in none of them.
# `rank` is set while a job is due and not held: smallest first, see statements.RANK.
_WAITING = "status IN ('PENDING', 'RETRY')"
_partial("jobs_ready", "rank IS NOT NULL AND waits_for IS NULL", jobs.c.queue, jobs.c.rank, jobs.c.number)
_partial("jobs_waits", "waits_for IS NOT NULL", jobs.c.waits_for, jobs.c.queue, jobs.c.rank, jobs.c.number)
_partial("jobs_delayed", f"rank IS NULL AND held = 0 AND {_WAITING}", jobs.c.due_at)
_partial("jobs_running", "status = 'STARTED'", jobs.c.lease_until)
_partial("jobs_rung", "rung_at IS NOT NULL", jobs.c.queue, jobs.c.rung_at)
_partial("jobs_limited", "limit_name > '' AND finished_at IS NULL", jobs.c.limit_name, jobs.c.status)
_partial("jobs_keyed", "status = 'STARTED' AND limit_name > ''", jobs.c.task)
_partial("jobs_expiring", f"expires_at IS NOT NULL AND {_WAITING}", jobs.c.expires_at)
_partial("jobs_idempotency", "idempotency_key IS NOT NULL", jobs.c.idempotency_key, unique=True)

#: Every change of status (`was` to `status`; `was` is NULL at acceptance), written by triggers, so that no code path
#: can forget one.
#: On PostgreSQL `txid` is the writing transaction: a reader that must not skip a late commit orders by (txid, seq) and
#: stays below `pg_snapshot_xmin`. On SQLite it is 0 and `seq` is commit order.
events = Table(
    "events",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("txid", BigInteger, nullable=False, server_default="0"),
    Column("job", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("was", Text),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("task", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("owner", Text),
    Column("due_at", BigInteger),
    Column("started_at", BigInteger),
    Column("runtime", Float),
    Column("error_code", Text),
    Column("error_type", Text),
    Column("error_message", Text),
    # Of the attempt that ended with it: a later attempt of the job has one of its own.
    Column("error_trace", Text),
    sqlite_autoincrement=True,  # or a rowid that retention freed is given again, below where the folds have read
)
Index("events_job", events.c.job, events.c.seq)

logs = Table(
    "logs",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("job_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("level", Text, nullable=False),
    Column("message", Text, nullable=False),
)
Index("logs_job", logs.c.job_id, logs.c.seq)

workers = Table(
    "workers",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # The worker whose process it is: equal names do not make two workers one.
    Column("instance", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("mode", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("busy", Integer, nullable=False),
    Column("queues", Text, nullable=False),
    Column("tasks", Text, nullable=False),
    Column("version", Text, nullable=False),
    # Where it listens for rings, and its host's clock when it showed life: what drifts apart is found by these.
    Column("broker", Text, nullable=False, server_default=""),
    Column("clock_at", BigInteger, nullable=False, server_default="0"),
    Column("memory", BigInteger, nullable=False, server_default="0"),
    Column("versions", Text, nullable=False, server_default="{}"),
    Column("draining", SmallInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("heard", Integer, nullable=False, server_default="0"),
    Column("abandoned", Integer, nullable=False, server_default="0"),
    Column("deaf", SmallInteger, nullable=False, server_default="0"),
)

#: One row a rate or concurrency limit. `free_at` is the earliest next start that a rate allows.
#: A task's limit has the task's name. One of a concurrency key names its `task`, whose limit must let its jobs pass as
#: well. `overridden`: an operator has set it, and no start declares it anew.
limits = Table(
    "limits",
    metadata,
    Column("name", Text, primary_key=True),
    Column("interval", Float, nullable=False),
    Column("max_running", Integer),
    Column("free_at", Float, nullable=False, server_default="0"),
    Column("task", Text),
    Column("overridden", SmallInteger, nullable=False, server_default="0"),
)

_partial("limits_rates", "interval > 0", limits.c.name)

#: Queues that are not served: nobody claims from them, nobody is rung for them. A row whose `until` has passed is none.
pauses = Table(
    "pauses",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("reason", Text),
)

#: What operators asked for, and how it was answered.
audit = Table(
    "audit",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
)

#: An action on all jobs of a filter, under way or done. `cursor` is the id below which jobs are still to be visited.
bulks = Table(
    "bulks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("target", Text),
    Column("state", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("skipped", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("message", Text),
    Column("cursor", Text, nullable=False),
    Column("owner", Text),
    Column("lease_until", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
)

#: What a worker was told to do. `target` is a worker's name or a process's owner; `taken_by` the process that does it.
commands = Table(
    "commands",
    metadata,
    Column("id", Text, primary_key=True),
    Column("target", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("argument", Text),
    Column("asked_at", BigInteger, nullable=False),
    Column("taken_at", BigInteger),
    Column("taken_by", Text),
    Column("finished_at", BigInteger),
    Column("ok", SmallInteger),
    Column("outcome", Text),
)

#: Counters folded from the events: what /metrics and /stats show, the same from every replica.
tallies = Table(
    "tallies",
    metadata,
    Column("name", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("total", Float, nullable=False),
    #: When an event was last counted here; counters of pairs that had none for long are deleted.
    Column("seen_at", BigInteger),
    UniqueConstraint("name", "task", "queue", "label", name="tallies_key"),
)

#: How far a fold has read the events.
cursors = Table(
    "cursors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("txid", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

#: Holds a row for as long as the transaction of a write probe lasts, see `tasks.store.health`.
probes = Table(
    "probes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("filler", Text, nullable=False),
)

#: Rules that make jobs. `spec` is the JSON of a `tasks.schedule.Spec`, `declared` what code last said where it declares
#: the schedule; a deleted one of these stays as a row, or the next start would bring it back. `token` marks whose tick
#: moved the row last.
schedules = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("spec", Text, nullable=False),
    Column("declared", Text),
    Column("origin", Text, nullable=False),
    Column("enabled", SmallInteger, nullable=False),
    Column("paused", Text),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("anchor", BigInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("last_at", BigInteger),
    Column("last_job", Text),
    Column("fired", BigInteger, nullable=False, server_default="0"),
    Column("missed", BigInteger, nullable=False, server_default="0"),
    Column("skipped", BigInteger, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("counted_from", BigInteger, nullable=False, server_default="0"),
    Column("error", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("token", Text),
)
_partial("schedules_due", "enabled = 1", schedules.c.next_at)

#: What was decided about a fire time, once: the key is what keeps two schedulers from firing it twice. `open` is set
#: while the fate of the job matters to later fire times.
fires = Table(
    "fires",
    metadata,
    Column("schedule_id", Text, primary_key=True),
    Column("fire_at", BigInteger, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("job_id", Text, unique=True),
    Column("open", SmallInteger, nullable=False, server_default="0"),
    Column("status", Text),
    Column("reason", Text),
    Column("decided_at", BigInteger, nullable=False),
    Column("decided_by", Text, nullable=False),
)
_partial("fires_open", "open = 1", fires.c.schedule_id, fires.c.fire_at)
_partial("fires_queued", "outcome = 'queued'", fires.c.schedule_id, fires.c.fire_at)
Index("fires_decided", fires.c.decided_at)

#: How late fire times were served, all schedules together: `label` is a bucket's upper bound.
lateness = Table(
    "lateness",
    metadata,
    Column("label", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("total", Float, nullable=False),
)

#: Reads nothing, and fails where a table or a column is not there.
SHAPE = "SELECT 1 FROM " + ", ".join(
    f"(SELECT {', '.join(column.name for column in table.columns)} FROM {table.name} WHERE 1 = 0) AS t{n}"
    for n, table in enumerate(metadata.sorted_tables)
)
