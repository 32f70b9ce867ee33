"""Projects, their domains and prompts; scans and the citations found; when each platform may be asked next.

Moments are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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

TABLES = MetaData()
#: SQLite counts up by itself only what it calls an integer, which holds as much there.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

#: `citation_rate`: of the platforms' answers in the last 30 days, the share that cites the project; NULL without any.
PROJECTS = Table(
    "citations_projects",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("brand", String(200), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("citation_rate", Float, CheckConstraint("citation_rate BETWEEN 0 AND 1")),
    Column("rated_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
)


def _project() -> Column[str]:
    return Column("project_id", ForeignKey(PROJECTS.c.id, ondelete="CASCADE"), nullable=False)


#: A page counts for the project if its host is one of these domains or lies under one.
DOMAINS = Table(
    "citations_domains",
    TABLES,
    _project(),
    Column("domain", String(253), nullable=False),
    UniqueConstraint("project_id", "domain"),
)

PROMPTS = Table(
    "citations_prompts",
    TABLES,
    Column("id", _NUMBER, primary_key=True),
    _project(),
    Column("text", Text, nullable=False),
    Column("priority", String(2), CheckConstraint("priority IN ('P0', 'P1', 'P2')"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("project_id", "text"),
)

#: One prompt put to one platform by one job. A job that runs twice finds what it did the first time.
SCANS = Table(
    "citations_scans",
    TABLES,
    Column("id", _NUMBER, primary_key=True),
    Column("job_id", Text, nullable=False),
    _project(),
    Column("prompt_id", ForeignKey(PROMPTS.c.id, ondelete="SET NULL")),
    Column("prompt_text", Text, nullable=False),
    Column("platform", String(20), nullable=False),
    Column("state", String(10), CheckConstraint("state IN ('answered', 'failed')"), nullable=False),
    Column("error", Text),
    Column("answer", Text),
    Column("names_brand", Boolean),
    Column("tokens_read", Integer),
    Column("tokens_written", Integer),
    # Millionths of a US dollar: sums of them are exact.
    Column("cost_micros", BigInteger, CheckConstraint("cost_micros >= 0")),
    Column("scanned_at", BigInteger, nullable=False),
    UniqueConstraint("job_id", "platform"),
    CheckConstraint("(state = 'failed') = (error IS NOT NULL)"),
    Index("citations_scans_of_project", "project_id", "scanned_at"),
    Index("citations_scans_of_prompt", "prompt_id", "scanned_at"),
)

#: `position` counts the pages of one answer from 1; `host` is the address's, in small ASCII letters.
CITATIONS = Table(
    "citations",
    TABLES,
    Column("scan_id", ForeignKey(SCANS.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, CheckConstraint("position >= 1"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("host", String(253), nullable=False),
    Column("title", Text, nullable=False),
)

PACE = Table(
    "citations_pace",
    TABLES,
    Column("platform", String(20), primary_key=True),
    Column("next_at", BigInteger, nullable=False),
)

DATABASE = Database(TABLES)
