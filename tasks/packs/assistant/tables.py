"""Conversations, their messages, and what was delivered to whom."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from tasks.database import Database

ID_LENGTH = 200
#: Other programs give their jobs ids of any length.
_JOB = Text

TABLES = MetaData()

#: `holder` is the job whose turn it is to be answered. Times are milliseconds since the epoch.
CONVERSATIONS = Table(
    "assistant_conversations",
    TABLES,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("user_id", String(ID_LENGTH)),
    Column("holder", _JOB),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
Index("assistant_conversations_user", CONVERSATIONS.c.user_id, CONVERSATIONS.c.updated_at)

#: A question has no tokens; an answer's are None where the endpoint does not count them.
MESSAGES = Table(
    "assistant_messages",
    TABLES,
    Column("conversation_id", String(ID_LENGTH), ForeignKey(CONVERSATIONS.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("role", String(9), nullable=False),
    Column("content", Text, nullable=False),
    Column("job_id", _JOB, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("model", String(200)),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("total_tokens", Integer),
    Column("cost", Float),
    UniqueConstraint("job_id", "role", name="assistant_messages_once"),
    CheckConstraint("role IN ('user', 'assistant')", name="assistant_messages_role"),
    CheckConstraint("position >= 1", name="assistant_messages_position"),
    CheckConstraint("role = 'assistant' OR total_tokens IS NULL", name="assistant_messages_tokens"),
)

DELIVERIES = Table(
    "assistant_deliveries",
    TABLES,
    Column("job_id", _JOB, primary_key=True),
    Column("recipient", String(2000), primary_key=True),
    Column("outcome", String(7), nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    CheckConstraint("outcome IN ('sent', 'refused')", name="assistant_deliveries_outcome"),
)

DATABASE = Database(TABLES)
