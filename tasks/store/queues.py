"""The SQL of queues as operators see them: paused, resumed, how fast they are."""

from __future__ import annotations

#: Rings that are out are taken back: nobody will answer them, and they would use up the relay's credit.
PAUSE = """
INSERT INTO pauses (queue, since, until, reason) VALUES (:queue, {now}, :until, :reason)
ON CONFLICT (queue) DO UPDATE SET until = excluded.until, reason = excluded.reason"""
UNRING_QUEUE = "UPDATE jobs SET rung_at = NULL WHERE queue = :queue AND rung_at IS NOT NULL"
RESUME = "DELETE FROM pauses WHERE queue = :queue AND (until IS NULL OR until > {now}) RETURNING queue"
PAUSES = "SELECT queue, since, until, reason FROM pauses WHERE until IS NULL OR until > {now}"
FORGET_PAUSES = "DELETE FROM pauses WHERE until <= {now}"
