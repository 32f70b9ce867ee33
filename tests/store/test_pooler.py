"""PostgreSQL behind a pooler: sessions of one's own work, shared ones are refused at the start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.engine import make_url

from tasks.database import Database
from tasks.errors import ConfigurationError
from tasks.job import Mode, State
from tasks.store.store import open_store
from tests.store.support import new_job
from tests.support.processes import Process, clean_environment, free_port
from tests.support.waiting import eventually

Pooled = Callable[[str], str]


@pytest.fixture
def pooled(postgres_url: str, tmp_path: Path) -> Iterator[Pooled]:
    """Starts a PgBouncer with this pool_mode before a fresh database; the URL through it."""
    bouncer = shutil.which("pgbouncer")
    if bouncer is None:
        pytest.skip("pgbouncer is not installed; Debian and Ubuntu have it as a package of that name")
    started: list[Process] = []

    def start(mode: str) -> str:
        url = make_url(postgres_url)
        port = free_port()
        folder = url.query["host"]
        lines = [
            "[databases]", f"* = host={folder} user={url.username}", "[pgbouncer]", f"pool_mode = {mode}",
            "listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir =", "auth_type = any",
        ]  # fmt: skip  # a line each
        if os.getuid() == 0:  # it refuses to run as root
            lines.append(f"user = {Path(str(folder)).owner()}")
        settings = tmp_path / "pgbouncer.ini"
        settings.write_text("\n".join(lines))
        process = Process("pgbouncer", [bouncer, str(settings)], clean_environment(), tmp_path)
        started.append(process)
        eventually(lambda: "process up" in process.output, 20, "PgBouncer listens")
        return f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}"

    yield start
    for process in started:
        process.stop()


async def test_shared_sessions_are_refused_in_words(pooled: Pooled) -> None:
    url = pooled("transaction")
    with pytest.raises(
        ConfigurationError, match=r"DATABASE_URL: 127\.0\.0\.1:\d+ is a pooler .* use pool_mode = session"
    ):
        await open_store(url, Mode.THREAD)
    tables = Database(MetaData())
    tables.configure(url)
    with pytest.raises(ConfigurationError, match=r"JOBGATE_PACKS_DATABASE_URL: .* is a pooler"):
        await tables.create()
    await tables.close()


async def test_sessions_of_ones_own_work(pooled: Pooled) -> None:
    url = pooled("session")
    store = await open_store(url, Mode.THREAD)
    job = new_job()
    await store.accept(job)
    found = await store.get(job.id)
    assert found is not None
    assert found.status is State.PENDING
    await store.stop()
    tables = Database(MetaData())
    Table("kept_by_a_pack", tables.tables, Column("id", Integer, primary_key=True))
    tables.configure(url)
    await tables.create()
    assert await tables.missing() == []
    await tables.close()
