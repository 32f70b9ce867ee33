"""Samples of a host and of the record, one for each job that took one, with their parts."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

from tasks.database import Database

TABLES = MetaData()

_KEY = BigInteger().with_variant(Integer, "sqlite")

#: The host that ran the job. What it cannot tell is NULL. Bytes, and the load average of a minute.
SAMPLES = Table(
    "stats_samples",
    TABLES,
    Column("id", _KEY, primary_key=True),
    Column("job_id", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("host", String(255), nullable=False),
    Column("cores", Integer, nullable=False),
    Column("load", Float),
    Column("memory_total", BigInteger),
    Column("memory_available", BigInteger),
    Column("disk_total", BigInteger, nullable=False),
    Column("disk_free", BigInteger, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("running", Integer, nullable=False),
)


def _sample() -> Column[int]:
    return Column("sample_id", _KEY, ForeignKey("stats_samples.id", ondelete="CASCADE"), primary_key=True)


#: Waiting jobs by queue; `due_since` is when the oldest of those that could start was due.
QUEUES = Table(
    "stats_queues",
    TABLES,
    _sample(),
    Column("queue", String(255), primary_key=True),
    Column("waiting", Integer, CheckConstraint("waiting >= 0"), nullable=False),
    Column("due", Integer, CheckConstraint("due >= 0"), nullable=False),
    Column("due_since", BigInteger),
)

#: Attempts that ended within the hour before, by task and state.
OUTCOMES = Table(
    "stats_outcomes",
    TABLES,
    _sample(),
    Column("task", String(255), primary_key=True),
    Column("status", String(10), primary_key=True),
    Column("attempts", Integer, CheckConstraint("attempts > 0"), nullable=False),
)

DATABASE = Database(TABLES)
