"""The SQL of every move, one text for both dialects; rings, upkeep and the worker registry have modules of their own.

`{now}` is the database's clock, `{rows: name TYPE, …}` a table made of the rows given with the statement, `{least}` the
scalar minimum, `{skip_locked}` what keeps two processes from waiting for each other's rows, `{lock}` what makes them.
`{among (}SELECT …{)}` is IN, but with the certainty that the SELECT runs once: a plan that ran it again would skip the
rows it had locked itself, and take more than its LIMIT.
Each move names in its WHERE the states it leaves, and a move out of STARTED also the attempt and the owner: that is the
fence, and the reason why a late or doubled write changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.job import Attempt, Job

#: How long, in milliseconds, a job must have waited longer to be served before one of the next higher priority.
AGEING = 60_000

#: How long, in milliseconds, an attempt may stand past its time limit before it is reaped: its own process ends it at
#: the limit, and if that fails, shows by its signs of life, one a second, that it is there.
OVERRUN = 3_000

#: What a `:parameter` holds, where it is not text.
PARAMETERS = {
    **dict.fromkeys(
        ("lease", "grace", "n", "age", "result_age", "behind", "upto", "until", "memory", "clock_at"), "BIGINT"
    ),
    **dict.fromkeys(("max_running", "pid", "slots", "busy", "draining", "heard", "abandoned"), "INTEGER"),
    **dict.fromkeys(("total", "done", "skipped", "failed", "status", "ok"), "INTEGER"),
    "interval": "DOUBLE PRECISION",
}


def kind(parameter: str) -> str:
    """The SQL type of a parameter; `n0`, `n1` … are numbers like `n`."""
    return PARAMETERS.get(parameter.rstrip("0123456789"), "TEXT")


#: Milliseconds that a look may come late and the limit still makes up for: so a rate is kept and not merely approached.
LIMIT_SLACK = 50

WAITING = "('PENDING', 'RETRY')"
FINAL = "('SUCCESS', 'FAILURE', 'REVOKED')"

#: The columns of a `Job`, in the order of its fields.
JOB = ", ".join(f"jobs.{name}" for name in Job.__struct_fields__)

#: The columns of an `Attempt`, likewise.
ATTEMPT = ", ".join(f"jobs.{name}" for name in Attempt.__struct_fields__)


def rank(due: str) -> str:
    """Smallest first. A constant for the life of a wait, and yet it ages: a minute of waiting weighs one priority."""
    return f"({due} - priority * {AGEING})"


def table(**kinds: str) -> str:
    """The mark for the rows given with a statement, with their columns' names and types."""
    return "{rows: " + ", ".join(f"{name} {kind}" for name, kind in kinds.items()) + "}"


_NEW = {
    "id": "TEXT",
    "task": "TEXT",
    "queue": "TEXT",
    "priority": "SMALLINT",
    "arguments": "TEXT",
    "max_retries": "INTEGER",
    "max_losses": "INTEGER",
    "soft_time_limit": "DOUBLE PRECISION",
    "time_limit": "DOUBLE PRECISION",
    "limit_name": "TEXT",
    "delay": "BIGINT",
    "due_at": "BIGINT",
    "expires_in": "BIGINT",
    "expires_at": "BIGINT",
    "held": "SMALLINT",
    "tags": "TEXT",
    "retry_of": "TEXT",
    "idempotency_key": "TEXT",
    "fingerprint": "TEXT",
    "mode": "TEXT",
}

#: A limit that an operator gave a task holds for jobs of processes that know nothing of it yet.
_LIMIT = """CASE limit_name WHEN '' THEN COALESCE(
    (SELECT l.name FROM limits AS l WHERE l.name = n.task AND l.overridden = 1), '') ELSE limit_name END"""

#: rows: the fields of NewJob in order, then the mode. Returns the moment of acceptance once a written row.
ACCEPT = f"""
INSERT INTO jobs (id, task, queue, priority, status, mode, arguments, max_retries, max_losses, soft_time_limit,
    time_limit, limit_name, created_at, due_at, rank, expires_at, held, tags, retry_of, idempotency_key, fingerprint)
SELECT id, task, queue, priority, 'PENDING', mode, arguments, max_retries, max_losses, soft_time_limit,
    time_limit, {_LIMIT}, t, COALESCE(due_at, t + delay),
    CASE WHEN held = 0 AND COALESCE(due_at, t + delay) <= t THEN {rank("COALESCE(due_at, t + delay)")} END,
    COALESCE(expires_at, t + expires_in), held, tags, retry_of, idempotency_key, fingerprint
FROM {table(**_NEW)} AS n, (SELECT {{now}} AS t) AS clock WHERE true
RETURNING created_at"""

#: The same for jobs whose id or idempotency key may stand already: those are not written and not returned.
ACCEPT_ONCE = ACCEPT.replace("RETURNING", "ON CONFLICT DO NOTHING RETURNING")

_CLAIMED = f"""
    status = 'STARTED', attempt = attempt + 1, owner = :owner, mode = :mode, started_at = {{now}}, rank = NULL,
    rung_at = NULL, runtime = NULL, progress = NULL,
    lease_until = {{now}} + {{least}}(:lease, CAST(COALESCE(time_limit * 1000 + {OVERRUN}, :lease) AS BIGINT))"""


def paused(queue: str) -> str:
    """Whether that queue is not served now. One probe by key: IN would make a table of all that are paused."""
    return f"EXISTS (SELECT 1 FROM pauses WHERE pauses.queue = {queue} AND (until IS NULL OR until > {{now}}))"


def unless_paused(queue: str, limit: str) -> str:
    """A branch's LIMIT: as a condition it would be asked of every job that waits in a paused queue."""
    return f"CASE WHEN {paused(queue)} THEN 0 ELSE {limit} END"


#: rows: [queue]. Those of them that are served.
SERVED = f"(SELECT queue FROM {table(queue='TEXT')} AS q WHERE NOT {paused('q.queue')})"


def left_out(number: int, column: str = "task") -> str:
    """The condition that `column` is none of the names `:s0`, `:s1` …; nothing where there are none."""
    return f" AND {column} NOT IN ({', '.join(f':s{n}' for n in range(number))})" if number else ""


def names(skipped: Sequence[str]) -> dict[str, str]:
    """The parameters of `left_out`."""
    return {f"s{n}": task for n, task in enumerate(skipped)}


def queue_rows(queues: Sequence[str]) -> list[list[str]]:
    """rows: [queue], for a statement that must see them all at once: SQLite's are parted by powers of two."""
    size = 1 << (len(queues) - 1).bit_length() if queues else 0
    return [[queues[n % len(queues)]] for n in range(size)]


CLAIMABLE = "rank IS NOT NULL AND (expires_at IS NULL OR expires_at > {now})"


def take(queues: list[list[str]], skipped: int = 0) -> str:
    """Claim the `:n` best jobs of `queues`: an earlier group is served strictly before a later one.

    One index probe a queue, then a merge: the cost does not grow with the number of waiting jobs.
    Parameters: owner, mode, lease, grace (milliseconds), n, and q0, q1 … for the queues in order; s0, s1 … for
    the tasks that are `skipped`.
    """
    branches = [
        f"SELECT * FROM (SELECT number, {level} AS level, rank FROM jobs WHERE queue = :q{n} AND limit_name = '' "
        f"AND {CLAIMABLE}{left_out(skipped)} "
        f"ORDER BY rank, number LIMIT {unless_paused(f':q{n}', ':n')} {{skip_locked}}) AS b{n}"
        for n, level in enumerate(level for level, group in enumerate(queues) for _ in group)
    ]
    best = f"SELECT number FROM ({' UNION ALL '.join(branches)}) AS best ORDER BY level, rank, number LIMIT :n"
    return f"UPDATE jobs SET {_CLAIMED} WHERE number {{among (}}{best}{{)}} AND status IN {WAITING} RETURNING {ATTEMPT}"


#: rows: [id]. Claims those that are due and need to pass no limit.
CLAIM = f"""
UPDATE jobs SET {_CLAIMED} WHERE id IN (SELECT id FROM {table(id="TEXT")} AS s)
    AND status IN {WAITING} AND limit_name = '' AND {CLAIMABLE}
    AND NOT {paused("jobs.queue")} RETURNING {ATTEMPT}"""

_NEXT_FREE = f"CASE WHEN free_at < {{now}} - {LIMIT_SLACK} THEN {{now}} ELSE free_at END + interval"


#: The task whose jobs pass a limit.
LIMITED_TASK = "COALESCE(limits.task, limits.name)"


def _lets_pass(limit: str) -> str:
    """Whether it does. A task's limit counts all that run of the task, by whatever limit they came."""
    return f"""{limit}.free_at <= {{now}} AND ({limit}.max_running IS NULL OR {limit}.max_running >
        (SELECT count(*) FROM jobs AS r WHERE r.status = 'STARTED'
            AND r.limit_name = {limit}.name) + CASE WHEN {limit}.task IS NULL THEN (SELECT count(*) FROM jobs AS r
            WHERE r.status = 'STARTED' AND r.task = {limit}.name AND r.limit_name <> r.task) ELSE 0 END)"""


PASSABLE = f"""{_lets_pass("limits")} AND NOT EXISTS (
    SELECT 1 FROM limits AS above WHERE above.name = limits.task AND NOT ({_lets_pass("above")}))"""

_WAITS_FOR_LIMIT = f"""EXISTS (SELECT 1 FROM jobs AS w WHERE w.queue IN {SERVED}
    AND w.limit_name = limits.name AND w.rank IS NOT NULL AND (w.expires_at IS NULL OR w.expires_at > {{now}}))"""

#: rows: [queue]. The limits for which due jobs wait there, by one index probe each: the cost grows neither with the
#: limits for which nobody waits, nor with the jobs that wait for one.
AWAITED = f"""(WITH RECURSIVE awaited (queue, name) AS (
    SELECT q.queue, (SELECT f.limit_name FROM jobs AS f WHERE f.queue = q.queue AND f.rank IS NOT NULL
        AND f.limit_name > '' ORDER BY f.limit_name LIMIT 1) FROM {SERVED} AS q
    UNION ALL
    SELECT a.queue, (SELECT f.limit_name FROM jobs AS f WHERE f.queue = a.queue AND f.rank IS NOT NULL
        AND f.limit_name > a.name ORDER BY f.limit_name LIMIT 1) FROM awaited AS a WHERE a.name IS NOT NULL)
    SELECT name FROM awaited WHERE name IS NOT NULL)"""

#: rows: [queue]. First of the three: whoever wants to pass one of these limits waits here for those before him. A
#: statement of its own, because only the next one sees what they have claimed.
LOCK_LIMITS = f"""
SELECT name FROM limits WHERE (name IN {AWAITED} AND free_at <= {{now}} AND {_WAITS_FOR_LIMIT})
    OR name IN (SELECT task FROM limits AS k WHERE k.task IS NOT NULL) ORDER BY name {{lock}}"""

#: The limits that stand under one of a task take turns: only one of them can know whether that lets somebody pass.
_TURN = "CASE WHEN EXISTS (SELECT 1 FROM limits AS u WHERE u.name = limits.task) THEN limits.task ELSE limits.name END"


def let_pass(skipped: int = 0) -> str:
    """rows: [queue]. Let one job pass each limit, at most `:n`, that is free and has a job waiting there; `:token`
    marks them. s0, s1 … are the tasks that are `skipped`."""
    return f"""
UPDATE limits SET token = :token, free_at = {_NEXT_FREE}
WHERE name IN (SELECT name FROM (
        SELECT name, row_number() OVER (PARTITION BY {_TURN} ORDER BY free_at, name) AS place FROM limits
        WHERE name IN {AWAITED} AND {PASSABLE} AND {_WAITS_FOR_LIMIT}{left_out(skipped, LIMITED_TASK)}
    ) AS waiting WHERE place = 1 LIMIT :n)
    AND free_at <= {{now}}"""


#: Whoever passes the limit of a key passes that of its task.
PASS_ABOVE = f"""
UPDATE limits SET free_at = {_NEXT_FREE}
WHERE name IN (SELECT k.task FROM limits AS k WHERE k.token = :token AND k.task IS NOT NULL)"""


#: rows: [queue]. Claim the best job of each limit marked with `:token`.
TAKE_PASSED = f"""
UPDATE jobs SET {_CLAIMED} WHERE number {{among (}}
    SELECT (SELECT w.number FROM jobs AS w WHERE w.queue IN {SERVED}
        AND w.limit_name = limits.name AND w.rank IS NOT NULL AND (w.expires_at IS NULL OR w.expires_at > {{now}})
        ORDER BY w.rank, w.number LIMIT 1)
    FROM limits WHERE token = :token{{)}} AND status IN {WAITING} AND {CLAIMABLE} RETURNING {ATTEMPT}"""

#: The same for one job by id, as a worker does that was rung for it.
_ITS_LIMIT = "(SELECT limit_name FROM jobs WHERE id = :id)"
LOCK_LIMIT = f"""
SELECT name FROM limits WHERE name = {_ITS_LIMIT} OR name = (SELECT k.task FROM limits AS k WHERE k.name = {_ITS_LIMIT})
ORDER BY name {{lock}}"""
PASS_ONE = f"""
UPDATE limits SET token = :token, free_at = {_NEXT_FREE}
WHERE {PASSABLE} AND name = (SELECT limit_name FROM jobs WHERE id = :id AND {CLAIMABLE}
    AND NOT {paused("jobs.queue")})"""
CLAIM_PASSED = f"""
UPDATE jobs SET {_CLAIMED} WHERE id = :id AND status IN {WAITING} AND {CLAIMABLE}
    AND limit_name IN (SELECT name FROM limits WHERE token = :token) RETURNING {ATTEMPT}"""

#: rows: [name]. Limits that their tasks do not have any more: whoever still waits for one of them may pass.
LIFT_LIMITS = f"""
UPDATE limits SET interval = 0, max_running = NULL, free_at = 0
WHERE name IN (SELECT name FROM {table(name="TEXT")} AS s) AND overridden = 0
    AND (interval <> 0 OR max_running IS NOT NULL)"""
SET_LIMIT = """
INSERT INTO limits (name, interval, max_running) VALUES (:name, :interval, :max_running)
ON CONFLICT (name) DO UPDATE SET interval = excluded.interval, max_running = excluded.max_running
    WHERE limits.overridden = 0"""

_STEP = {
    "id": "TEXT",
    "attempt": "INTEGER",
    "owner": "TEXT",
    "target": "TEXT",
    "delay": "BIGINT",
    "result": "TEXT",
    "runtime": "DOUBLE PRECISION",
    "failed": "INTEGER",
    "code": "TEXT",
    "type": "TEXT",
    "message": "TEXT",
    "trace": "TEXT",
}

#: A cancel that was asked for wins over going back to wait.
_REVOKED = f"(s.target IN {WAITING} AND cancel_requested_at IS NOT NULL)"
_WAITS = f"(s.target IN {WAITING} AND cancel_requested_at IS NULL)"

#: rows: the columns of _STEP. Returns id, attempt, status of those that still held their job.
SETTLE = f"""
UPDATE jobs SET
    status = CASE WHEN {_REVOKED} THEN 'REVOKED' ELSE s.target END,
    finished_at = CASE WHEN NOT {_WAITS} THEN {{now}} END,
    finished_by = s.owner, owner = NULL, lease_until = NULL, runtime = s.runtime, result = s.result,
    failures = failures + s.failed,
    due_at = CASE WHEN {_WAITS} THEN {{now}} + s.delay ELSE due_at END,
    rank = CASE WHEN {_WAITS} AND s.delay <= 0 THEN {rank("{now}")} END,
    error_code = CASE WHEN {_REVOKED} THEN 'cancelled' ELSE s.code END,
    error_type = s.type, error_message = s.message, error_trace = s.trace
FROM {table(**_STEP)} AS s
WHERE jobs.id = s.id AND jobs.status = 'STARTED' AND jobs.attempt = s.attempt AND jobs.owner = s.owner
RETURNING jobs.id, jobs.attempt, jobs.status"""

#: What became of an attempt that this owner has ended; nothing if he has not.
ENDED_BY = """
SELECT status FROM jobs WHERE id = :id AND attempt = :attempt AND finished_by = :owner AND status <> 'STARTED'"""

#: How long an attempt that was told to stop may still show life, and where its lease ends therefore.
_LEASE_END = f"""{{least}}(
    {{least}}({{now}} + :lease, CAST(COALESCE(started_at + time_limit * 1000 + {OVERRUN}, {{now}} + :lease) AS BIGINT)),
    COALESCE(cancel_requested_at + :grace, {{now}} + :lease))"""

#: rows: [id, attempt]. Returns id and when a cancel was asked for, of those still held by `:owner`.
RENEW = f"""
UPDATE jobs SET lease_until = {_LEASE_END}
FROM {table(id="TEXT", attempt="INTEGER")} AS s
WHERE jobs.id = s.id AND jobs.status = 'STARTED' AND jobs.attempt = s.attempt AND jobs.owner = :owner
RETURNING jobs.id, jobs.cancel_requested_at"""

#: The attempts that `:owner` holds.
HELD_BY = f"SELECT {ATTEMPT} FROM jobs WHERE status = 'STARTED' AND owner = :owner"

#: Which jobs of `:owner` have been asked to stop.
CANCELLED = "SELECT id FROM jobs WHERE status = 'STARTED' AND owner = :owner AND cancel_requested_at IS NOT NULL"

CANCEL = f"""
UPDATE jobs SET
    status = CASE status WHEN 'STARTED' THEN 'STARTED' ELSE 'REVOKED' END,
    finished_at = CASE status WHEN 'STARTED' THEN NULL ELSE {{now}} END,
    lease_until = CASE status WHEN 'STARTED' THEN {{least}}(lease_until, {{now}} + :grace) END,
    cancel_requested_at = COALESCE(cancel_requested_at, {{now}}),
    error_code = CASE status WHEN 'STARTED' THEN error_code ELSE 'cancelled' END,
    error_type = CASE status WHEN 'STARTED' THEN error_type END,
    error_message = CASE status WHEN 'STARTED' THEN error_message ELSE 'cancelled before it started' END,
    rank = NULL, rung_at = NULL
WHERE id = :id AND status IN ('PENDING', 'RETRY', 'STARTED') RETURNING {JOB}"""

HOLD = f"""
UPDATE jobs SET held = 1, rank = NULL, rung_at = NULL WHERE id = :id AND status IN {WAITING} RETURNING {JOB}"""

RELEASE = f"""
UPDATE jobs SET held = 0, rank = CASE WHEN due_at <= {{now}} THEN {rank("due_at")} END
WHERE id = :id AND status IN {WAITING} RETURNING {JOB}"""

#: It must pass no limit; it must pass one; nobody has been rung for it (the few that are rung stand first).
FREE = "limit_name = ''"
LIMITED = "limit_name > ''"
UNRUNG = f"{FREE} AND rung_at IS NULL"


def has_ready(condition: str, skipped: int = 0) -> str:
    """rows: [queue]. Whether one of these has a due job of which `condition` holds, by one index probe a queue.

    s0, s1 … are the tasks that are `skipped`.
    """
    return f"""
SELECT 1 FROM {SERVED} AS q WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.queue = q.queue
    AND rank IS NOT NULL AND {condition}{left_out(skipped)}) LIMIT 1"""


#: A result whose time is over is gone to every reader, whether or not it has been swept away.
_OVER = "(jobs.result IS NOT NULL AND jobs.finished_at < {now} - :result_age)"
_SHOWN = JOB.replace("jobs.result,", f"CASE WHEN {_OVER} THEN NULL ELSE jobs.result END,").replace(
    "jobs.result_expired", f"CASE WHEN {_OVER} THEN 1 ELSE jobs.result_expired END"
)
GET = f"SELECT {_SHOWN} FROM jobs WHERE id = :id"
#: rows: [id]. Those of them that have not ended.
STILL_OPEN = f"""
SELECT jobs.id FROM {table(id="TEXT")} AS s JOIN jobs ON jobs.id = s.id WHERE jobs.finished_at IS NULL"""

#: rows: [id, attempt, json].
PROGRESS = f"""
UPDATE jobs SET progress = s.progress
FROM {table(id="TEXT", attempt="INTEGER", progress="TEXT")} AS s
WHERE jobs.id = s.id AND jobs.status = 'STARTED' AND jobs.attempt = s.attempt AND jobs.owner = :owner"""
#: rows: [id, attempt, level, message].
LOG = f"""
INSERT INTO logs (job_id, attempt, at, level, message)
SELECT id, attempt, {{now}}, level, message
FROM {table(id="TEXT", attempt="INTEGER", level="TEXT", message="TEXT")} AS s"""
