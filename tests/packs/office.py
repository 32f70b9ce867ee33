"""A gateway with the back-office, one for all tests of a module on each kind of database; its tables are emptied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete

from executors import assembly, packs
from executors.control import Control
from executors.settings import Settings
from gateway.app import create_app
from tasks.packs.backoffice.health import EXECUTE
from tasks.packs.backoffice.tables import DATABASE, TABLES
from tests.gateway.conftest import client_of
from tests.support.answers import AnswerEngines

Office = tuple[Control, httpx2.AsyncClient]


def variables(engines: AnswerEngines) -> dict[str, str]:
    """What leads agents to the test's server instead of a vendor's."""
    return {
        "BACKOFFICE_CHAT_URL": f"{engines.url('openai')}/v1",
        "BACKOFFICE_CHAT_KEY": engines.key,
        "BACKOFFICE_CHAT_MODEL": "small",
    }


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def office(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    url = f"sqlite:///{tmp_path_factory.mktemp('office') / 'jobs.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").fresh()
    environment = {**variables(request.getfixturevalue("engines")), "BACKOFFICE_AGENT_GRACE": "0.2"}
    modules = ("tasks.packs.backoffice",)
    settings = Settings(database_url=url, task_modules=modules, threads=2, environment=environment)
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        for schedule in await control.schedules.list(100):  # none fires into a test
            await control.schedules.pause(schedule.id)
        yield control, client
    await packs.close(found)


@pytest.fixture
async def client(office: Office) -> httpx2.AsyncClient:
    for schedule in await office[0].schedules.of_task(EXECUTE):
        await office[0].schedules.delete(schedule.id)
    async with DATABASE.writing() as tables:
        for table in reversed(TABLES.sorted_tables):
            await tables.execute(delete(table))
    return office[1]


async def ran(client: httpx2.AsyncClient, task: str, **kwargs: Any) -> Any:
    """The result of a job."""
    answer = await client.post("/api/v1/jobs", json={"task": task, "kwargs": kwargs}, headers={"prefer": "wait=20"})
    job = answer.json()
    assert job.get("status") == "SUCCESS", job
    return job["result"]
