"""The tables of the back-office. Moments are milliseconds since the epoch, on the database's clock."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
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
    Column("job_id", String(36), primary_key=True),
    Column("at", BigInteger, nullable=False),
    *(
        Column(name, Integer, nullable=False)
        for name in ("total", "open", "closed", "expired", "users", "opened_last_day")
    ),
    Column("mean_seconds", Float),
)
Index("backoffice_session_statistics_at", STATISTICS.c.at)
