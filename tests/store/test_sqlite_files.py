"""Files of an SQLite database that are deleted or replaced while a process has it open: what was confirmed is kept."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tasks.errors import StoreUnavailable
from tasks.job import Mode
from tasks.store import sqlite_files
from tasks.store.store import open_store
from tests.gateway.support import Hand, make_control, make_gateway
from tests.store.support import Bench

Damage = Callable[[Path], None]


@pytest.fixture
async def lite(sqlite_url: str) -> AsyncIterator[Bench]:
    async with Bench.on(sqlite_url) as bench:
        yield bench


def _file(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _delete(*suffixes: str) -> Damage:
    def delete(path: Path) -> None:
        for suffix in suffixes:
            _file(path, suffix).unlink()

    return delete


def _replace(path: Path) -> None:
    """Puts an empty -wal in the place of the one that is open."""
    _file(path, "-wal").unlink()
    _file(path, "-wal").touch()


DAMAGES = {
    "wal and shm": _delete("-wal", "-shm"),
    "wal": _delete("-wal"),
    "shm": _delete("-shm"),
    "wal replaced": _replace,
}


def _rows_after_a_crash(path: Path, to: Path) -> list[str]:
    """The jobs that a process finds that is started after a kill -9 of all others."""
    to.mkdir()
    for suffix in ("", "-wal"):
        if _file(path, suffix).exists():
            shutil.copy(_file(path, suffix), to)
    with sqlite3.connect(to / path.name) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = [row[0] for row in connection.execute("SELECT id FROM jobs ORDER BY number")]
    connection.close()
    return found


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_no_accepted_job_is_lost_and_none_is_accepted_any_more(
    lite: Bench, tmp_path: Path, damage: Damage
) -> None:
    path = tmp_path / "jobs.db"
    accepted = [await lite.accept(arguments="x" * 2_000) for _ in range(20)]
    damage(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"file is gone or was replaced.*: restart every process"):
            await lite.accept()
    assert _rows_after_a_crash(path, tmp_path / "after") == accepted
    assert await lite.store.get(accepted[0]) is not None, "reads are answered all the same"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_commit_during_which_the_files_go_is_confirmed_only_if_it_is_kept(
    lite: Bench, tmp_path: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, find = tmp_path / "jobs.db", sqlite_files.OpenFiles.problem
    kept = await lite.accept()

    def find_then_damage(files: Any) -> str | None:
        found = find(files)
        monkeypatch.undo()
        damage(path)
        return found

    monkeypatch.setattr(sqlite_files.OpenFiles, "problem", find_then_damage)
    confirmed = await lite.accept()
    assert _rows_after_a_crash(path, tmp_path / "after") == [kept, confirmed]


async def test_a_reader_that_is_in_the_way_delays_the_saving_only(lite: Bench, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await lite.store.run("PRAGMA busy_timeout = 10")
    accepted = [await lite.accept()]
    with sqlite3.connect(path, isolation_level=None) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchall()
        accepted.append(await lite.accept())
        _delete("-wal", "-shm")(path)
        with pytest.raises(StoreUnavailable, match="could not be saved"):
            await lite.accept()
        reader.execute("ROLLBACK")
        with pytest.raises(StoreUnavailable, match="What was accepted is in the database file"):
            await lite.accept()
        assert _rows_after_a_crash(path, tmp_path / "after") == accepted
    reader.close()


async def test_what_another_process_wrote_since_is_not_overwritten(lite: Bench, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    await lite.accept()
    _delete("-wal", "-shm")(path)
    program = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('CREATE TABLE other (x)')\n"
        "connection.execute('INSERT INTO other VALUES (1)')\n"
        "os._exit(0)\n"
    )
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(path))
    assert await other.wait() == 0
    with pytest.raises(StoreUnavailable, match="could not be saved"):
        await lite.accept()
    after = tmp_path / "after"
    _rows_after_a_crash(path, after)
    with sqlite3.connect(after / path.name) as connection:
        assert connection.execute("SELECT x FROM other").fetchall() == [(1,)]
    connection.close()


async def test_a_database_file_that_comes_back_is_written_again(lite: Bench, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.rename(tmp_path / "aside")
    with pytest.raises(StoreUnavailable, match="the database file is gone"):
        await lite.accept()
    (tmp_path / "aside").rename(path)
    await lite.accept()


async def test_the_gateway_answers_503_and_is_not_ready(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store(sqlite_url, Mode.THREAD)
    app = make_gateway(make_control(store, Hand(store)))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as client:
        job = {"task": "tests.read", "kwargs": {"path": "a"}}
        assert (await client.post("/api/v1/jobs", json=job)).status_code == 202
        _delete("-wal", "-shm")(tmp_path / "jobs.db")
        refused = await client.post("/api/v1/jobs", json=job)
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/store-unavailable")
        ready = await client.get("/readyz")
    await store.stop()
    assert (ready.status_code, ready.json()["type"]) == (503, "/problems/not-ready")
    assert "it takes no writes" in ready.json()["detail"]
    assert "the database's -wal file is gone or was replaced: restart every process" in caplog.text
