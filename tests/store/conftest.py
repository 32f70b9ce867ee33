"""Stores on both databases, with a clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tasks.job import Mode
from tasks.store.backend import parse_url
from tasks.store.migrate import migrate
from tasks.store.store import JobStore, open_store
from tests.store.support import CLOCK, Bench
from tests.support.servers import Postgres


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema of this release, to be copied."""
    path = tmp_path_factory.mktemp("template") / "jobs.db"
    asyncio.run(migrate(parse_url(f"sqlite:///{path}")))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'jobs.db')}"


@pytest.fixture(scope="session")
def postgres_database(postgres_server: Postgres) -> str:
    """One for the whole suite, emptied before each test: making one takes longer than a test."""
    return postgres_server.fresh()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_database"}[request.param])
    return found


@pytest.fixture
async def bench(url: str) -> AsyncIterator[Bench]:
    async with Bench.on(url) as bench:
        yield bench
        await bench.store.writer.stop()
        assert bench.idle_connections_only(), "a connection was not given back"


@pytest.fixture
async def other(bench: Bench, url: str) -> AsyncIterator[JobStore]:
    """A second process's store on the same database."""
    store = await open_store(url, Mode.THREAD, clock=CLOCK)
    yield store
    await store.stop()


@pytest.fixture(scope="module")
def template_copies(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes the URL of one more fresh SQLite file."""
    folder = tmp_path_factory.mktemp("copies")
    names = iter(range(1_000_000))
    return lambda: f"sqlite:///{shutil.copy(sqlite_template, folder / f'{next(names)}.db')}"
