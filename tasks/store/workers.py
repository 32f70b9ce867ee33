"""The SQL of the worker registry."""

from __future__ import annotations

#: Returns whether the worker has been called deaf.
BEAT = """
INSERT INTO workers (owner, name, instance, host, pid, mode, pool, slots, busy, queues, tasks, version, broker,
    clock_at, memory, versions, draining, heard, abandoned, started_at, seen_at)
VALUES (:owner, :name, :instance, :host, :pid, :mode, :pool, :slots, :busy, :queues, :tasks, :version, :broker,
    :clock_at, :memory, :versions, :draining, :heard, :abandoned, {now}, {now})
ON CONFLICT (owner) DO UPDATE SET slots = excluded.slots, busy = excluded.busy, queues = excluded.queues,
    tasks = excluded.tasks, memory = excluded.memory, clock_at = excluded.clock_at, draining = excluded.draining,
    seen_at = excluded.seen_at, heard = excluded.heard,
    abandoned = excluded.abandoned
RETURNING deaf"""
DEAF = "UPDATE workers SET deaf = 1 WHERE instance = :instance AND deaf = 0"
HEARS = "UPDATE workers SET deaf = 0 WHERE instance = :instance AND deaf = 1"
GONE = "DELETE FROM workers WHERE owner = :owner"
FORGET_WORKERS = "DELETE FROM workers WHERE seen_at < {now} - :age"
