"""The tables of the back-office. Moments are milliseconds since the epoch, on the database's clock."""

from __future__ import annotations

from typing import Any

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
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tasks.database import Database

TABLES = MetaData()
DATABASE = Database(TABLES)


class now(FunctionElement[int]):  # noqa: N801  # reads as the SQL function that it is
    """The database's clock, the same throughout a statement."""

    type = BigInteger()
    inherit_cache = True


@compiles(now, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **_: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)"


@compiles(now, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)"


#: `ended` says how: closed by its user, or expired; until a clean-up says so, a session over its time has not ended.
SESSIONS = Table(
    "backoffice_sessions",
    TABLES,
    Column("id", String(36), primary_key=True),
    Column("user_id", String(200), nullable=False),
    Column("ip", String(45), nullable=False),
    Column("user_agent", String(500), nullable=False),
    Column("ttl", Integer, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("ended", String(7)),
    CheckConstraint("ttl > 0 AND seen_at >= opened_at AND expires_at > seen_at", name="backoffice_sessions_times"),
    CheckConstraint(
        "(ended_at IS NULL) = (ended IS NULL) AND ended_at >= opened_at AND ended IN ('closed', 'expired')",
        name="backoffice_sessions_end",
    ),
)
_OPEN = text("ended_at IS NULL")
Index("backoffice_sessions_open", SESSIONS.c.expires_at, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index("backoffice_sessions_ended", SESSIONS.c.ended_at)
Index("backoffice_sessions_user", SESSIONS.c.user_id, SESSIONS.c.id)

#: One row for each job of `auth.session_statistics`.
STATISTICS = Table(
    "backoffice_session_statistics",
    TABLES,
    Column("job_id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    *(
        Column(name, Integer, nullable=False)
        for name in ("total", "open", "closed", "expired", "users", "opened_last_day")
    ),
    Column("mean_seconds", Float),
)
Index("backoffice_session_statistics_at", STATISTICS.c.at)

#: `tools` is a JSON list of names. `health` is what the last health check found, at `checked_at`.
AGENTS = Table(
    "backoffice_agents",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("name", String(70), nullable=False, unique=True),
    Column("prompt", Text, nullable=False),
    Column("instructions", Text, nullable=False),
    Column("model", String(100), nullable=False),
    Column("tools", Text, nullable=False),
    Column("health", String(7), nullable=False, server_default="new"),
    Column("health_reason", Text, nullable=False, server_default=""),
    Column("checked_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    CheckConstraint("health IN ('new', 'ok', 'failing', 'overdue')", name="backoffice_agents_health"),
    sqlite_autoincrement=True,  # a schedule of an agent that is gone must not run the next one
)

#: One row for each job of an agent; a later attempt of the job begins it anew. Tokens are NULL where nobody told them.
RUNS = Table(
    "backoffice_agent_runs",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("agent_id", ForeignKey(AGENTS.c.id, ondelete="CASCADE"), nullable=False),
    Column("job_id", Text, nullable=False, unique=True),
    Column("attempt", Integer, nullable=False),
    Column("state", String(7), nullable=False, server_default="running"),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("answer", Text),
    Column("error", Text),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("tool_calls", Text, nullable=False, server_default="[]"),
    CheckConstraint(
        "CASE state WHEN 'running' THEN ended_at IS NULL AND answer IS NULL AND error IS NULL"
        " WHEN 'success' THEN ended_at IS NOT NULL AND answer IS NOT NULL AND error IS NULL"
        " WHEN 'failure' THEN ended_at IS NOT NULL AND answer IS NULL AND error IS NOT NULL ELSE false END",
        name="backoffice_agent_runs_states",
    ),
    sqlite_autoincrement=True,
)
Index("backoffice_agent_runs_agent", RUNS.c.agent_id, RUNS.c.id)
