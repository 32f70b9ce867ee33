"""Settings that only a process or a database shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from anyio import to_thread
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from executors.settings import Settings
from gateway.cli import schema
from tasks.errors import ConfigurationError
from tests.support.processes import clean_environment
from tests.support.servers import Postgres

PACK = "tests.support.shop_pack"

SHOW = """
import logging, executors.celery_worker as worker
print(logging.getLogger("jobgate").level, worker.app.conf.worker_max_tasks_per_child)
"""


def test_a_worker_takes_its_level_of_words_and_the_life_of_its_children(tmp_path: Path) -> None:
    environment = clean_environment(
        DATABASE_URL=f"sqlite:///{tmp_path}/jobs.db", LOG_LEVEL="DEBUG", CELERY_WORKER_MAX_TASKS_PER_CHILD="100"
    )
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["10", "100"]


async def test_schedules_and_results_have_a_database_of_their_own(postgres_server: Postgres) -> None:
    business, own = (postgres_server.fresh(migrated=False) for _ in range(2))
    name = str(make_url(own).database)
    settings = Settings.from_env({"DATABASE_URL": business, "CELERY_DATABASE_NAME": name, "TASK_MODULES": PACK})
    await to_thread.run_sync(schema.upgrade, settings)
    assert await _tables(business) == {"shop_orders"}
    assert {"jobs", "schedules"} <= await _tables(own)
    assert settings.unread == ()


async def _tables(url: str) -> set[str]:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await engine.dispose()
    return set(found)


def test_on_sqlite_it_is_a_file_beside(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/shop.db", "CELERY_DATABASE_NAME": "celery_tasks"}
    settings = Settings.from_env({**environ, "TASK_MODULES": PACK})
    schema.upgrade(settings)
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["celery_tasks.db", "shop-packs.db"]
    for name, table in (("celery_tasks", "schedules"), ("shop-packs", "shop_orders")):
        engine = create_engine(f"sqlite:///{tmp_path}/{name}.db")
        assert inspect(engine).has_table(table)
        engine.dispose()


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="CELERY_DATABASE_NAME"):
        Settings.from_env({"CELERY_DATABASE_NAME": "../shop"})
