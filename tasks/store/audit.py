"""The SQL of the audit trail."""

from __future__ import annotations

RECORD = """
INSERT INTO audit (at, who, action, target, status, outcome)
VALUES ({now}, :who, :action, :target, :status, :outcome)"""
FORGET = "DELETE FROM audit WHERE at < {now} - :age"
