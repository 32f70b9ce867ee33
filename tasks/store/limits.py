"""The SQL of limits as operators set them, and of those that concurrency keys bring."""

from __future__ import annotations

from tasks.store.statements import table

OVERRIDE = """
INSERT INTO limits (name, interval, max_running, overridden) VALUES (:name, :interval, :max_running, 1)
ON CONFLICT (name) DO UPDATE SET interval = excluded.interval, max_running = excluded.max_running, free_at = 0,
    overridden = 1"""
#: Jobs that were accepted when their task had no limit; those that run too, because they may be retried.
BIND = """
UPDATE jobs SET limit_name = :name, rung_at = NULL
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
