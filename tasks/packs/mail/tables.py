"""What became of each letter for each recipient: a job that runs again sends only what is still to be sent."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, MetaData, String, Table, Text

from tasks.database import Database

TABLES = MetaData()

#: The latest word of the mail server for each recipient of a job.
DELIVERIES = Table(
    "mail_deliveries",
    TABLES,
    Column("job_id", Text, primary_key=True),
    Column("recipient", String(320), primary_key=True),
    Column("message_id", String(400), nullable=False),
    Column("outcome", String(10), CheckConstraint("outcome IN ('sent', 'deferred', 'refused')"), nullable=False),
    Column("code", Integer, nullable=False),
    Column("reply", String(500), nullable=False),
    Column("tries", Integer, CheckConstraint("tries > 0"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("mail_deliveries_at", "at"),
)

DATABASE = Database(TABLES)
