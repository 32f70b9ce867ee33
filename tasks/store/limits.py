"""The SQL of limits as operators set them, and of those that concurrency keys bring."""

from __future__ import annotations

from tasks.store.statements import table

#: Whether a limit has room now. A task's limit counts all running jobs of the task, by whatever limit they started. A
#: next start beyond one interval is left over from a clock that was set back.
_RUNNING = """((SELECT count(*) FROM jobs AS r WHERE r.limit_name = l.name AND r.status = 'STARTED'
        AND r.limit_name > '' AND r.finished_at IS NULL)
    + CASE WHEN l.task IS NULL THEN (SELECT count(*) FROM jobs AS r WHERE r.task = l.name AND r.status = 'STARTED'
        AND r.limit_name > '' AND r.limit_name <> r.task) ELSE 0 END)"""
_OPEN = f"""((l.interval <= 0 OR l.free_at <= {{now}} + :lead OR l.free_at > {{now}} + l.interval + 1000)
    AND (l.max_running IS NULL OR {_RUNNING} < l.max_running))"""

#: Milliseconds that a promotion may come before the moment of the next start: clocks are read to the millisecond.
LEAD = 2

_NAMED = f"(SELECT name FROM {table(name='TEXT')} AS given)"


def locked(pick: str) -> str:
    """The candidates that `pick` reads, and in two more columns whether the limits of their key and task are locked.

    Locks the limits of all candidates that have one, without waiting for those that others hold: these are not locked
    here. A task without a limit of its own has none to lock.
    """
    return f"""
WITH picked AS MATERIALIZED ({pick}),
named (name) AS (SELECT limit_name FROM picked WHERE limit_name > ''
    UNION SELECT task FROM picked WHERE limit_name > ''),
locked AS MATERIALIZED (SELECT name FROM limits WHERE name IN (SELECT name FROM named) {{skip_locked}})
SELECT number, limit_name, level, rank, task, limit_name IN (SELECT name FROM locked), task IN (SELECT name FROM locked)
FROM picked"""


#: rows: [name]. How these limits stand: see `claiming.Room`.
STATE = f"""
SELECT name, task, interval, max_running, free_at, {{now}}, {_RUNNING} FROM limits AS l WHERE name IN {_NAMED}"""
#: rows: [name, free_at]. The next start that each rate allows.
USE = f"""
UPDATE limits SET free_at = s.free_at FROM {table(name="TEXT", free_at="DOUBLE PRECISION")} AS s
WHERE limits.name = s.name"""
#: rows: [number, name]. Puts candidates behind the limit that refused them.
REFUSE = f"""
UPDATE jobs SET waits_for = s.name, rung_at = NULL FROM {table(number="BIGINT", name="TEXT")} AS s
WHERE jobs.number = s.number AND jobs.rank IS NOT NULL AND jobs.waits_for IS NULL"""

#: The limits given, and those of their tasks.
_TOUCHED = f"""touched (name) AS (
    SELECT name FROM {table(name="TEXT")} AS given
    UNION SELECT k.task FROM {table(name="TEXT")} AS s JOIN limits AS k ON k.name = s.name WHERE k.task IS NOT NULL)"""
#: rows: [name]. Those of these limits, and of their tasks, behind which jobs wait: by far cheaper than PROMOTE.
AWAITED_AMONG = f"""
WITH {_TOUCHED} SELECT name FROM touched AS t WHERE EXISTS (SELECT 1 FROM jobs AS w WHERE w.waits_for = t.name)"""
#: The best `:n` jobs of each queue behind each of the limits `roomy`, by one index probe each.
_BEST = """
queues (name, queue) AS (
    SELECT o.name, (SELECT f.queue FROM jobs AS f WHERE f.waits_for = o.name ORDER BY f.queue LIMIT 1) FROM roomy AS o
    UNION ALL
    SELECT a.name, (SELECT f.queue FROM jobs AS f WHERE f.waits_for = a.name AND f.queue > a.queue
        ORDER BY f.queue LIMIT 1) FROM queues AS a WHERE a.queue IS NOT NULL),
best (name, queue, number, rank, place) AS (
    SELECT q.name, q.queue, w.number, w.rank, 1 FROM queues AS q JOIN jobs AS w ON w.number = (
        SELECT x.number FROM jobs AS x WHERE x.waits_for = q.name AND x.queue = q.queue
        ORDER BY x.rank, x.number LIMIT 1)
    UNION ALL
    SELECT b.name, b.queue, w.number, w.rank, b.place + 1 FROM best AS b JOIN jobs AS w ON w.number = (
        SELECT x.number FROM jobs AS x WHERE x.waits_for = b.name AND x.queue = b.queue
        AND (x.rank, x.number) > (b.rank, b.number) ORDER BY x.rank, x.number LIMIT 1) WHERE b.place < :n)"""
#: rows: [name]. Makes the best `:n` jobs of each queue candidates that wait behind these limits, or behind those of
#: their tasks, where the limit has room within `:lead` milliseconds, or is not there any more.
PROMOTE = f"""
WITH RECURSIVE {_TOUCHED},
roomy (name) AS (SELECT t.name FROM touched AS t JOIN limits AS l ON l.name = t.name WHERE {_OPEN}),{_BEST}
UPDATE jobs SET waits_for = NULL WHERE number {{among (}}SELECT number FROM best{{)}}
    AND waits_for IS NOT NULL RETURNING queue"""
#: Names of limits behind which jobs wait, in order, the next `:n` after `:name`.
AWAITED = """
WITH RECURSIVE awaited (name, place) AS (
    SELECT (SELECT f.waits_for FROM jobs AS f WHERE f.waits_for > :name ORDER BY f.waits_for LIMIT 1), 1
    UNION ALL
    SELECT (SELECT f.waits_for FROM jobs AS f WHERE f.waits_for > a.name ORDER BY f.waits_for LIMIT 1), a.place + 1
    FROM awaited AS a WHERE a.name IS NOT NULL AND a.place < :n)
SELECT name FROM awaited WHERE name IS NOT NULL"""
#: The rate limits behind which jobs wait, and the milliseconds until each lets the next one start.
NEXT_STARTS = """
SELECT l.name, l.free_at - {now}, l.interval FROM limits AS l WHERE l.interval > 0
    AND EXISTS (SELECT 1 FROM jobs AS w WHERE w.waits_for = l.name)"""

OVERRIDE = """
INSERT INTO limits (name, interval, max_running, overridden) VALUES (:name, :interval, :max_running, 1)
ON CONFLICT (name) DO UPDATE SET interval = excluded.interval, max_running = excluded.max_running, free_at = 0,
    overridden = 1"""
#: Jobs that were accepted when their task had no limit; those that run too, because they may be retried.
BIND = """
UPDATE jobs SET limit_name = :name, rung_at = NULL, waits_for = NULL
WHERE task = :name AND limit_name = '' AND status IN ('PENDING', 'RETRY', 'STARTED')"""
RESET = """
UPDATE limits SET interval = :interval, max_running = :max_running, free_at = 0, overridden = 0 WHERE name = :name"""
READ = "SELECT interval, max_running, overridden FROM limits WHERE name = :name"

#: rows: [name, task, max_running]. Written before the jobs; `free_at` keeps them from being forgotten in between.
KEYS = f"""
INSERT INTO limits (name, interval, max_running, task, free_at)
SELECT name, 0, max_running, task, {{now}} FROM {table(name="TEXT", task="TEXT", max_running="INTEGER")} AS s WHERE true
ON CONFLICT (name) DO UPDATE SET max_running = excluded.max_running, free_at = excluded.free_at"""
FORGET_KEYS = """
DELETE FROM limits WHERE task IS NOT NULL AND free_at < {now} - :age AND NOT EXISTS (SELECT 1 FROM jobs
    WHERE jobs.limit_name = limits.name AND jobs.limit_name > '' AND jobs.finished_at IS NULL)"""
