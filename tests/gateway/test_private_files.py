"""Files that processes of the product make are for their own user, whatever umask they were started with."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tasks.job import Mode
from tasks.store.backend import parse_url
from tasks.store.migrate import migrate
from tasks.store.store import open_store
from tests.support.processes import ROOT, Process, clean_environment, python
from tests.support.waiting import eventually

WORDS = {
    "gateway": "Jobgate serves",
    "executors.scheduler": "Jobgate scheduler",
    "executors.celery_worker": "Jobgate worker",
}


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """Files under `folder` with a permission for others than their owner; a process's log is the test's own."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    assert files
    return [f"{path} {stat.S_IMODE(path.stat().st_mode):o}" for path in files if path.stat().st_mode & 0o077]


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("module", list(WORDS))
def test_each_process_has_a_private_umask(tmp_path: Path, module: str, redis_url: str) -> None:
    # Only the folder of a relative path is made.
    database = os.path.relpath(tmp_path / "data/jobs.db", ROOT)
    environment = clean_environment(
        DATABASE_URL=f"sqlite:///{database}", PORT="0", USE_CELERY="1", CELERY_BROKER_URL=redis_url,
        FILES_ROOT=str(tmp_path / "files"), CELERY_CONCURRENCY="1",
    )  # fmt: skip
    process = Process(module, python("-m", module), environment, tmp_path)
    try:
        process.wait_for(WORDS[module])
        assert re.search(r"^Umask:\s*0077$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        assert open_to_others(tmp_path) == []
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    finally:
        process.stop()


@pytest.mark.usefixtures("open_umask")
def test_files_that_a_pack_writes_are_private(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir(mode=0o700)
    environment = clean_environment(
        DATABASE_URL=f"sqlite:///{tmp_path}/jobs.db", PORT="0", FILES_ROOT=str(tmp_path / "files"),
        FILES_SAMPLES="1",
    )  # fmt: skip
    process = Process("gateway", python("-m", "gateway"), environment, tmp_path)
    try:
        url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        wish = {"task": "tasks.file.export_file", "args": [["welcome.txt"]]}
        answer = httpx2.post(f"{url}/api/v1/jobs", json=wish, headers={"prefer": "wait=30"}, timeout=60)
        assert answer.json()["status"] == "SUCCESS", answer.text
        assert (tmp_path / "files" / answer.json()["result"]["path"]).is_file()
        eventually(lambda: open_to_others(tmp_path) == [] or None, 5, "private files")
    finally:
        process.stop()


@pytest.mark.usefixtures("open_umask")
async def test_a_database_is_created_private_by_any_program(tmp_path: Path) -> None:
    await migrate(parse_url(f"sqlite:///{tmp_path}/migrated.db"))
    store = await open_store(f"sqlite:///{tmp_path}/opened.db", Mode.THREAD)
    try:
        assert (tmp_path / "opened.db-wal").exists()
        assert open_to_others(tmp_path) == []
    finally:
        await store.stop()


async def test_a_database_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await migrate(parse_url(f"sqlite:///{path}"))
    path.chmod(0o640)
    await (await open_store(f"sqlite:///{path}", Mode.THREAD)).stop()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
