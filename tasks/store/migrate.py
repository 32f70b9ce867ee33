"""Bring a database to the schema of this release: `python -m tasks.store.migrate URL`.

SQLite is brought up to date at start; PostgreSQL by this command, and a start against an old schema says so.
A process of its own, because Alembic's memory is not needed to serve.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from tasks import pg_session
from tasks.private_files import create_private
from tasks.store.backend import make_folder, parse_url

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


#: Processes that start together all want to migrate: one does, the others wait and find nothing left to do.
#: On SQLite the transaction is begun by hand, because its Python driver does not begin one before a CREATE.
_ALONE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(5268713294)"}
_CONNECT = {"sqlite": {"isolation_level": None, "timeout": 60}, "postgresql": {}}


def upgrade(connection: Connection) -> None:
    """Run the missing revisions on an open connection, all or none."""
    connection.exec_driver_sql(_ALONE[connection.dialect.name])
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def migrate(url: URL) -> None:
    """Bring the database at `url` up to date; does nothing when it is."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        make_folder(url)
    engine = create_async_engine(url.set(drivername=_DRIVERS[backend]), connect_args=_CONNECT[backend])
    if backend == "postgresql":
        pg_session.prepare(engine, pg_session.MIGRATION)
    else:
        event.listen(engine.sync_engine, "do_connect", lambda *_: create_private(url.database))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(migrate(parse_url(sys.argv[1])))
