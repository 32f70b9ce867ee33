"""Migrations: an upgrade from nothing gives exactly the tables the code has, and another schema is not served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from tasks.errors import ConfigurationError, StoreUnavailable
from tasks.job import Mode
from tasks.store import store as store_module
from tasks.store.backend import parse_url
from tasks.store.migrate import migrate
from tasks.store.schema import metadata
from tasks.store.store import HEAD, JobStore, open_store
from tests.store.support import Bench
from tests.support.servers import Postgres


def test_the_head_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(store_module.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_an_upgrade_from_nothing_gives_exactly_the_tables(bench: Bench) -> None:
    async with bench.store.engine.connect() as connection:
        different, found = await connection.run_sync(_differences)
    assert different == []
    assert found == {constraint.name for constraint in metadata.tables["jobs"].constraints if constraint.name}


def _differences(connection: Connection) -> tuple[list[Any], set[str | None]]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    # What one kind of database alone has is made with its guards.
    apart = ("clock", "events_commit")
    different = [change for change in compare_metadata(context, metadata) if not any(n in str(change) for n in apart)]
    # Alembic does not compare CHECKs, and cannot compare the conditions of partial indexes.
    return different, {check["name"] for check in inspect(connection).get_check_constraints("jobs")}


async def test_a_second_upgrade_does_nothing(bench: Bench, url: str) -> None:
    job_id = await bench.accept()
    await migrate(parse_url(url))
    assert await bench.store.get(job_id) is not None


async def test_postgresql_is_not_brought_up_to_date_behind_its_owners_back(postgres_server: Postgres) -> None:
    empty = postgres_server.fresh(migrated=False)
    with pytest.raises(ConfigurationError, match=r"has schema none, this release needs .*jobgate db upgrade"):
        await open_store(empty, Mode.THREAD)


@pytest.mark.parametrize("url", ["sqlite:///folder/below/new.db", "sqlite:///{folder}/new.db"])
async def test_sqlite_is_brought_up_to_date_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    store = await open_store(url.format(folder=tmp_path), Mode.THREAD)
    assert await store.revision() == HEAD
    await store.stop()


async def test_the_folder_of_an_absolute_path_is_not_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mistyped' / 'new.db'}"
    for opening in (open_store(url, Mode.THREAD), migrate(parse_url(url))):
        with pytest.raises(ConfigurationError, match=f"there is no folder {tmp_path}/mistyped"):
            await opening
    assert list(tmp_path.iterdir()) == []


async def test_a_newer_schema_is_refused(bench: Bench) -> None:
    await bench.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="has schema 9999, this release needs"):
        await JobStore(bench.store._backend, Mode.THREAD).start()
    await bench.sql("UPDATE alembic_version SET version_num = :head", head=HEAD)


@pytest.mark.parametrize("wrong", ["mysql://x/y", "", "sqlite://", "sqlite:///:memory:", "nonsense"])
async def test_another_database_is_refused_in_words(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        await open_store(wrong, Mode.THREAD)


async def test_a_password_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_url("oracle://me:secret@host/db")
    assert "secret" not in str(refused.value)


async def test_a_server_that_is_not_there_is_said_to_be_away() -> None:
    with pytest.raises(StoreUnavailable):
        await open_store("postgresql://me:secret@127.0.0.1:1/none", Mode.THREAD)


async def test_the_guards_are_there(bench: Bench) -> None:
    names = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    }
    async with bench.store.engine.connect() as connection:
        found = {row[0] for row in await connection.execute(text(names[bench.store.engine.dialect.name]))}
    assert found - {"jobs_guarded", "jobs_terminal", "jobs_attempt"} == {"jobs_accepted", "jobs_moved", "jobs_requeued"}
    assert "jobs_guarded" in found or {"jobs_terminal", "jobs_attempt"} <= found
