"""Profiles, sources, runs and their scripts. Times are milliseconds since the epoch, UTC."""

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

TABLES = MetaData()
DATABASE = Database(TABLES)

EPISODE_PROFILES = Table(
    "podcast_episode_profiles",
    TABLES,
    Column("name", String(80), primary_key=True),
    Column("description", Text, nullable=False),
    Column("briefing", Text, nullable=False),
    Column("turns", Integer, CheckConstraint("turns BETWEEN 2 AND 60"), nullable=False),
)

SPEAKER_PROFILES = Table(
    "podcast_speaker_profiles",
    TABLES,
    Column("name", String(80), primary_key=True),
    Column("description", Text, nullable=False),
)

SPEAKERS = Table(
    "podcast_speakers",
    TABLES,
    Column("profile", ForeignKey("podcast_speaker_profiles.name", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, CheckConstraint("position IN (0, 1)"), primary_key=True),
    Column("name", String(40), nullable=False),
    Column("pitch", Float, CheckConstraint("pitch BETWEEN 0.75 AND 1"), nullable=False),
    Column("pace", Float, CheckConstraint("pace BETWEEN 0.7 AND 1.4"), nullable=False),
    UniqueConstraint("profile", "name"),
)

SOURCES = Table(
    "podcast_sources",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("title", String(200), nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: `job_id` makes it, and nobody else may; `attempt` is the job's newest that has begun.
RUNS = Table(
    "podcast_runs",
    TABLES,
    Column("id", String(36), primary_key=True),
    Column("episode_profile", ForeignKey("podcast_episode_profiles.name"), nullable=False),
    Column("speaker_profile", ForeignKey("podcast_speaker_profiles.name"), nullable=False),
    Column("episode_name", String(200), nullable=False),
    Column("status", String(7), nullable=False),
    Column("job_id", Text, unique=True),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("deadline_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("error", Text),
    Column("script_by", String(7), CheckConstraint("script_by IN ('model', 'sources')")),
    Column("duration_ms", Integer),
    Column("wav_bytes", BigInteger),
    Column("mp3_bytes", BigInteger),
    CheckConstraint("status IN ('PENDING', 'STARTED', 'SUCCESS', 'FAILURE', 'REVOKED')", name="podcast_runs_status"),
    CheckConstraint(
        "(finished_at IS NULL) = (status IN ('PENDING', 'STARTED'))",
        name="podcast_runs_finished",
    ),
    CheckConstraint("status <> 'SUCCESS' OR duration_ms > 0", name="podcast_runs_audio"),
    Index("podcast_runs_by_status", "status"),
)

RUN_SOURCES = Table(
    "podcast_run_sources",
    TABLES,
    Column("run", ForeignKey("podcast_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("source", ForeignKey("podcast_sources.id"), nullable=False, index=True),
    UniqueConstraint("run", "source"),
)

TURNS = Table(
    "podcast_turns",
    TABLES,
    Column("run", ForeignKey("podcast_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("speaker", String(40), nullable=False),
    Column("text", Text, nullable=False),
)
