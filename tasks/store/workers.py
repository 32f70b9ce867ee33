"""The SQL of the worker registry."""

from __future__ import annotations

BEAT = """
INSERT INTO workers (owner, name, host, pid, mode, pool, slots, busy, queues, tasks, version, broker, clock_at,
    draining, started_at, seen_at)
VALUES (:owner, :name, :host, :pid, :mode, :pool, :slots, :busy, :queues, :tasks, :version, :broker, :clock_at,
    :draining, {now}, {now})
ON CONFLICT (owner) DO UPDATE SET slots = excluded.slots, busy = excluded.busy, queues = excluded.queues,
    clock_at = excluded.clock_at, draining = excluded.draining, seen_at = excluded.seen_at"""
GONE = "DELETE FROM workers WHERE owner = :owner"
FORGET_WORKERS = "DELETE FROM workers WHERE seen_at < {now} - :age"
