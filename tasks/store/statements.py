"""The SQL of every move, one text for both dialects; rings, upkeep and the worker registry have modules of their own.

`{now}` is the database's clock, `{rows: name TYPE, …}` a table made of the rows given with the statement, `{least}` the
scalar minimum, `{skip_locked}` what keeps two processes from waiting for each other's rows, `{lock}` what makes them,
`{as_json}` what lets `->>` read a column of text.
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
    "lead": "BIGINT",
}


def kind(parameter: str) -> str:
    """The SQL type of a parameter; `n0`, `n1` … are numbers like `n`."""
    return PARAMETERS.get(parameter.rstrip("0123456789"), "TEXT")


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
    "follows": "SMALLINT",
}

#: A limit that an operator gave a task holds for jobs of processes that know nothing of it yet.
_LIMIT = """CASE limit_name WHEN '' THEN COALESCE(
    (SELECT l.name FROM limits AS l WHERE l.name = n.task AND l.overridden = 1), '') ELSE limit_name END"""

#: When a job is due. A caller's moment in the past, such as a stored date, means now, or its job would go before all
#: that wait, and its wait would count in years; a schedule's fire time, whose `delay` is NULL, stays as it is.
_DUE = "CASE WHEN due_at IS NULL OR due_at < t + delay THEN t + delay ELSE due_at END"

#: rows: the fields of NewJob in order, then the mode, and whether a better job of its limit comes with it.
#: Returns the moment of acceptance once a written row.
ACCEPT = f"""
INSERT INTO jobs (id, task, queue, priority, status, mode, arguments, max_retries, max_losses, soft_time_limit,
    time_limit, limit_name, created_at, due_at, rank, waits_for, expires_at, held, tags, retry_of,
    idempotency_key, fingerprint)
SELECT id, task, queue, priority, 'PENDING', mode, arguments, max_retries, max_losses, soft_time_limit,
    time_limit, {_LIMIT}, t, {_DUE},
    CASE WHEN held = 0 AND {_DUE} <= t THEN {rank(f"({_DUE})")} END,
    CASE WHEN follows = 1 AND held = 0 AND {_DUE} <= t THEN limit_name END,
    COALESCE(expires_at, t + expires_in), held, tags, retry_of, idempotency_key, fingerprint
FROM {table(**_NEW)} AS n, (SELECT {{now}} AS t) AS clock WHERE true
RETURNING created_at"""

#: The same for jobs whose id or idempotency key may stand already: those are not written and not returned.
ACCEPT_ONCE = ACCEPT.replace("RETURNING", "ON CONFLICT DO NOTHING RETURNING")

_CLAIMED = f"""
    status = 'STARTED', attempt = attempt + 1, owner = :owner, mode = :mode, started_at = {{now}}, rank = NULL,
    waits_for = NULL, rung_at = NULL, runtime = NULL, progress = NULL,
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


CLAIMABLE = "rank IS NOT NULL AND (expires_at IS NULL OR expires_at > {now})"


_CANDIDATE = f"waits_for IS NULL AND {CLAIMABLE}"


#: Queues up to which a claim asks each of them; where there are more, it finds out first which of them have candidates.
MANY = 100
#: Branches in one compound SELECT; SQLite allows 500.
BRANCHES = 400


def best(queues: list[list[str]], skipped: int, more: str = "", share: str = "n") -> str:
    """Reads number, limit_name, level, rank and task of the `:n` best candidates of `queues`.

    One index probe a queue. `more` is a further condition.
    `share` names the parameter of how many of one queue, `{}` stands for the queue's number.
    """
    levels = [level for level, group in enumerate(queues) for _ in group]
    branches = [
        f"SELECT * FROM (SELECT number, limit_name, {level} AS level, rank, task FROM jobs WHERE queue = :q{n} "
        f"AND {_CANDIDATE}{more}{left_out(skipped)} "
        f"ORDER BY rank, number LIMIT {unless_paused(f':q{n}', ':' + share.format(n))} {{skip_locked}}) AS b{n}"
        for n, level in enumerate(levels)
    ]
    compared = [
        f"SELECT * FROM ({' UNION ALL '.join(branches[n : n + BRANCHES])}) AS c{n} "
        "ORDER BY level, rank, number LIMIT :n"
        for n in range(0, len(branches), BRANCHES)
    ]
    if len(compared) == 1:
        return compared[0]
    nested = " UNION ALL ".join(f"SELECT * FROM ({one}) AS d{n}" for n, one in enumerate(compared))
    return f"SELECT * FROM ({nested}) AS best ORDER BY level, rank, number LIMIT :n"


def pick(queues: list[list[str]], skipped: int = 0) -> str:
    """Reads number, limit_name, level, rank and task of the `:n` best candidates, for `claiming` to judge them.

    `queues`: an earlier group is served strictly before a later one. Parameters: n, and q0, q1 … for the queues in
    order; s0, s1 … for the tasks that are `skipped`.
    """
    return best(queues, skipped)


def take(queues: list[list[str]], skipped: int = 0) -> str:
    """Claims the `:n` best candidates if none of them has a limit, else none: then `claiming` judges them.

    One index probe a queue, then a merge: the cost does not grow with the number of waiting jobs.
    Parameters: those of `pick`, and owner, mode, lease, grace (milliseconds).
    """
    marked = f"SELECT number, max(limit_name) OVER () AS limited FROM ({best(queues, skipped)}) AS best"
    return f"""UPDATE jobs SET {_CLAIMED} WHERE number {{among (}}SELECT number FROM ({marked}) AS free
    WHERE limited = ''{{)}} AND status IN {WAITING} RETURNING {ATTEMPT}"""


def due(columns: str) -> str:
    """These columns of all due jobs: of the candidates and of those that wait behind a limit, each by its index."""
    ready = f"SELECT {columns} FROM jobs WHERE rank IS NOT NULL AND waits_for IS NULL"
    return f"({ready} UNION ALL SELECT {columns} FROM jobs WHERE waits_for IS NOT NULL) AS due"


#: The queues that have candidates, by one index probe each.
CANDIDATE_QUEUES = """
WITH RECURSIVE q(queue) AS (SELECT min(queue) FROM jobs WHERE rank IS NOT NULL AND waits_for IS NULL
    UNION ALL SELECT (SELECT min(queue) FROM jobs WHERE rank IS NOT NULL AND waits_for IS NULL AND queue > q.queue)
    FROM q WHERE q.queue IS NOT NULL)
SELECT queue FROM q WHERE queue IS NOT NULL"""

#: One job by its id, as `pick` reads it. A job that waits behind its limit is judged again.
PICK_ONE = f"""
SELECT number, limit_name, 0 AS level, rank, task FROM jobs
WHERE id = :id AND {CLAIMABLE} AND NOT {paused("jobs.queue")} {{skip_locked}}"""
#: rows: [number]. Claims candidates that `claiming` has judged.
CLAIM_PICKED = f"""
UPDATE jobs SET {_CLAIMED} WHERE number IN (SELECT number FROM {table(number="BIGINT")} AS s)
    AND status IN {WAITING} AND {CLAIMABLE} RETURNING {ATTEMPT}"""

#: rows: [id]. Claims those that are due and have no limit.
CLAIM = f"""
UPDATE jobs SET {_CLAIMED} WHERE id IN (SELECT id FROM {table(id="TEXT")} AS s)
    AND status IN {WAITING} AND limit_name = '' AND {CLAIMABLE}
    AND NOT {paused("jobs.queue")} RETURNING {ATTEMPT}"""

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

#: rows: the columns of _STEP. Returns id, attempt, status, limit_name of those that still held their job.
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
RETURNING jobs.id, jobs.attempt, jobs.status, jobs.limit_name"""

#: What became of an attempt that this owner has ended; nothing if he has not.
ENDED_BY = """
SELECT status FROM jobs WHERE id = :id AND attempt = :attempt AND finished_by = :owner AND status <> 'STARTED'"""

#: Where the lease of an attempt ends at last: a little after its time limit.
_DEADLINE = f"CAST(started_at + time_limit * 1000 + {OVERRUN} AS BIGINT)"
#: How long an attempt that was told to stop may still show life, and where its lease ends therefore. A renewal that
#: comes after the deadline changes nothing: where the lease ended before, the clock has jumped, or nobody could renew
#: it, and that tells nothing of how long the attempt ran.
_LEASE_END = f"""{{least}}(
    CASE WHEN {_DEADLINE} < {{now}} THEN lease_until
        ELSE {{least}}({{now}} + :lease, COALESCE({_DEADLINE}, {{now}} + :lease)) END,
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
    rank = NULL, waits_for = NULL, rung_at = NULL
WHERE id = :id AND status IN ('PENDING', 'RETRY', 'STARTED') RETURNING {JOB}"""

HOLD = f"""
UPDATE jobs SET held = 1, rank = NULL, waits_for = NULL, rung_at = NULL
WHERE id = :id AND status IN {WAITING} RETURNING {JOB}"""

RELEASE = f"""
UPDATE jobs SET held = 0, rank = CASE WHEN due_at <= {{now}} THEN {rank("due_at")} END
WHERE id = :id AND status IN {WAITING} RETURNING {JOB}"""

#: The job is a candidate; no wake-up message is out for it (the few for which one is stand first).
READY = "waits_for IS NULL"
UNRUNG = f"{READY} AND rung_at IS NULL"


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
