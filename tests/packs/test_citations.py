"""The citations pack in a gateway, with its tables in each kind of database and the vendors' protocols at its door."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import create_app
from tests.gateway.conftest import client_of
from tests.packs.citations_support import PLACES, VENDORS, Projects, variables
from tests.support.answers import AnswerEngines


@pytest.fixture
async def projects(database_url: str, answers: AnswerEngines) -> AsyncIterator[Projects]:
    settings = Settings(
        database_url=database_url,
        task_modules=("tasks.packs.citations",),
        threads=4,
        environment=variables(answers),
    )
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        yield Projects(client)
    await packs.close(found)


async def test_every_platform_is_asked_and_what_it_cites_is_stored(projects: Projects) -> None:
    project = await projects.make("northwind.example")
    job = await projects.scan(project)
    assert job["status"] == "SUCCESS", job["error"]
    result = job["result"]
    assert result["platforms"] == dict.fromkeys((*VENDORS, "compatible"), len(PLACES))
    assert (result["total_citations"], result["failed"]) == (6 * len(PLACES), {})
    for platform in result["platforms"]:
        page = await projects.call("GET", f"/{project}/citations?platform={platform}")
        assert [citation["url"] for citation in page["citations"]] == PLACES
        assert [citation["position"] for citation in page["citations"]] == list(range(1, len(PLACES) + 1))
