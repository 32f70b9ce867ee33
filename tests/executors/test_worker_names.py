"""Two Celery workers started with one name on one host: each has a name, pings and commands of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executors.identity import make_instance
from executors.settings import Settings
from executors.worker_name import WorkerName
from tasks.job import Mode
from tasks.store.store import JobStore, open_store
from tests.store.support import worker
from tests.support.deployment import Deployment, Shape
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, make_database: Callable[[str], str], make_broker: Callable[[str], str]
) -> Iterator[Deployment]:
    """Two workers whose command lines name them alike."""
    shape = Shape(
        database_url=make_database("sqlite"), pool="prefork", broker_url=make_broker("redis"), slots=2, workers=2,
        worker_options=("--hostname=same@%h",), environment={"JOBGATE_CANARY_SILENCE": "2"},
    )  # fmt: skip
    started = Deployment(shape, tmp_path_factory.mktemp("names"))
    try:
        started.start()
        yield started
    finally:
        started.stop()


def listing(deployed: Deployment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deployed.client.get("/api/v1/workers").json()["workers"]
    return found


def test_each_worker_has_a_name_of_its_own_and_is_told_apart(deployed: Deployment) -> None:
    names = {each["instance"]: each["name"] for each in listing(deployed)}
    host = listing(deployed)[0]["host"]
    assert sorted(names.values()) == [f"same.2@{host}", f"same@{host}"]
    second = next(process for process in deployed.workers if "another live worker is named" in process.output)
    assert f"this one is named same.2@{host}" in second.output
    answer = deployed.client.post("/api/v1/workers/all/grow", params={"n": 1, "wait": 30}).json()["commands"]
    assert {(each["worker"], each["state"]) for each in answer} == {(name, "done") for name in names.values()}


def test_one_parent_that_stands_still_is_noticed_although_the_other_answers(deployed: Deployment) -> None:
    parent = deployed.workers[0].pid
    os.kill(parent, signal.SIGSTOP)
    try:

        def states() -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            for each in listing(deployed):
                found.setdefault(each["instance"].split("/")[2], set()).add(each["state"])
            return found

        eventually(lambda: states()[str(parent)] == {"deaf"}, 30, "the stopped worker is known not to consume")
        assert states()[str(deployed.workers[1].pid)] == {"up"}
    finally:
        os.kill(parent, signal.SIGCONT)


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    store = await open_store(f"sqlite:///{tmp_path}/jobs.db", Mode.CELERY)
    yield store
    await store.stop()


@pytest.mark.parametrize(
    ("owner", "instance", "name"),
    [
        ("elsewhere/boot/1/1/ab", "elsewhere/boot/1/1", "celery.2@here"),
        ("elsewhere/boot/1/1/ab", make_instance(), "celery@here"),
    ],
    ids=["of another host", "of this worker before it executed itself again"],
)
async def test_a_name_in_the_registry_is_taken(
    store: JobStore, tmp_path: Path, owner: str, instance: str, name: str
) -> None:
    await store.beat(worker(owner, name="celery@here", instance=instance, mode="celery"))
    wanted = WorkerName(Settings(database_url=f"sqlite:///{tmp_path}/jobs.db"))
    assert await asyncio.to_thread(wanted.reserve, "celery@here", make_instance()) == name
    wanted.release()
