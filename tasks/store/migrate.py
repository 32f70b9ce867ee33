"""Bring a database to the schema of this release: `python -m tasks.store.migrate URL`.

SQLite is brought up to date at start; PostgreSQL by this command, and a start against an old schema says so.
A process of its own, because Alembic's memory is not needed to serve.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from tasks.store.backend import parse_url

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


def upgrade(connection: Connection) -> None:
    """Run the missing revisions on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def migrate(url: URL) -> None:
    """Bring the database at `url` up to date; does nothing when it is."""
    engine = create_async_engine(url.set(drivername=_DRIVERS[url.get_backend_name()]))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


if __name__ == "__main__":
    anyio.run(migrate, parse_url(sys.argv[1]))
