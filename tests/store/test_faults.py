"""The store's own troubles: what was not confirmed did not happen, and afterwards it goes on."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks.errors import StoreUnavailable
from tasks.job import State
from tests.store.support import Bench


@pytest.fixture
async def lite(sqlite_url: str) -> AsyncIterator[Bench]:
    async with Bench.on(sqlite_url) as bench:
        yield bench


@pytest.fixture
async def postgres(postgres_database: str) -> AsyncIterator[Bench]:
    async with Bench.on(postgres_database) as bench:
        yield bench


async def test_a_file_that_another_process_keeps_locked(lite: Bench, tmp_path: Path) -> None:
    await lite.store.run("PRAGMA busy_timeout = 50")
    with sqlite3.connect(tmp_path / "jobs.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await lite.accept()
        other.execute("ROLLBACK")
        await lite.accept()
    other.close()
    assert len(await lite.sql("SELECT id FROM jobs")) == 1


async def test_a_full_disk(lite: Bench) -> None:
    (pages,), *_ = await lite.store.run("PRAGMA page_count")
    await lite.store.run(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StoreUnavailable, match="full"):
        await lite.accept(arguments="x" * 100_000)
    assert await lite.sql("SELECT id FROM jobs") == []
    await lite.store.run("PRAGMA max_page_count = 1000000")
    assert await lite.status(await lite.accept(arguments="x" * 100_000)) is State.PENDING


async def test_a_file_that_was_deleted_takes_no_more_jobs(lite: Bench, tmp_path: Path) -> None:
    await lite.accept()
    (tmp_path / "jobs.db").unlink()
    with pytest.raises(StoreUnavailable, match="the database file is gone"):
        await lite.accept()


async def test_a_file_that_is_no_database_any_more(lite: Bench, tmp_path: Path) -> None:
    await lite.store.run("PRAGMA cache_size = 0")
    path = tmp_path / "jobs.db"
    path.write_bytes(b"x" * path.stat().st_size)
    (tmp_path / "jobs.db-wal").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        await lite.accept()


async def test_a_broken_connection_is_replaced(postgres: Bench) -> None:
    job_id = await postgres.accept()
    (pid,), *_ = await postgres.store.run("SELECT pg_backend_pid()")
    await postgres.sql("SELECT pg_terminate_backend(:pid)", pid=pid)
    # The first to write may hear of it; the driver may also have noticed before.
    with contextlib.suppress(StoreUnavailable):
        await postgres.accept()
    assert await postgres.claim(job_id)


async def test_a_server_that_has_become_read_only_is_unavailable(postgres: Bench) -> None:
    await postgres.store.run("SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable):
        await postgres.accept()
    # The connection is not trusted again: the next one may lead to the new primary.
    assert await postgres.status(await postgres.accept()) is State.PENDING


async def test_nothing_to_write_is_no_trouble(postgres: Bench, lite: Bench) -> None:
    for bench in (postgres, lite):
        assert await bench.store.abandon([]) == 0
        assert await bench.store.renew([], {"owner": "me", "lease": 1, "grace": 1}) == {}
