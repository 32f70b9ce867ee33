"""How arguments reach the function, and what happens to those that do not fit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasks.admission import new_id
from tasks.job import Mode, NewJob
from tasks.store.store import open_store
from tests.support.deployment import Deployment


def _put(deployment: Deployment, **fields: Any) -> str:
    """Write a row past the door, as an older release might have left it; its id."""
    plain: dict[str, Any] = {
        "queue": "celery",
        "priority": 0,
        "arguments": "[[],{}]",
        "max_retries": 3,
        "max_losses": 3,
    }
    new = NewJob(id=new_id(), **{**plain, "soft_time_limit": None, "time_limit": 30.0, **fields})

    async def put() -> None:
        store = await open_store(deployment.shape.database_url, Mode(deployment.mode))
        try:
            await store.accept(new)
        finally:
            await store.stop()

    asyncio.run(put())
    return new.id


@pytest.mark.parametrize("task", ["unbound", "unbound_async"])
def test_without_bind_no_self_is_passed(deployment: Deployment, task: str) -> None:
    assert deployment.run(task, 1, 2)["result"] == ["int", 1, 2]
    assert deployment.run(task, kwargs={"b": 2, "a": 1})["result"] == ["int", 1, 2]


@pytest.mark.parametrize("task", ["bound", "bound_async"])
def test_with_bind_self_comes_first_and_nothing_shifts(deployment: Deployment, task: str) -> None:
    assert deployment.run(task, 1, 2)["result"] == ["Context", 1, 2]
    assert deployment.run(task, kwargs={"b": 2, "a": 1})["result"] == ["Context", 1, 2]


def test_positional_keyword_and_default_arguments(deployment: Deployment) -> None:
    assert deployment.run("shapes", 1, 2)["result"] == [1, 2, 3, [], 4, {}]
    assert deployment.run("shapes", 1, kwargs={"b": 5, "d": 6})["result"] == [1, 5, 3, [], 6, {}]
    assert deployment.run("shapes", 1, 2, 3, 4, 5, kwargs={"e": 7})["result"] == [1, 2, 3, [4, 5], 4, {"e": 7}]
    assert deployment.run("add", 1)["result"] == 11


def test_text_becomes_what_the_function_is_annotated_with(deployment: Deployment) -> None:
    key, at = "6f9619ff-8b86-4011-b42d-00c04fc964ff", "2030-01-31T10:00:00+01:00"
    done = deployment.run("typed", key, kwargs={"at": at})
    assert done["result"] == ["UUID", 4, at, True, True]
    # The record keeps what was sent.
    assert (done["args"], done["kwargs"]) == ([key], {"at": at})


@pytest.mark.parametrize(
    ("task", "args", "kwargs", "pointer"),
    [
        ("add", ["one"], {}, "/args/0"),
        ("add", [], {"x": "one"}, "/kwargs/x"),
        ("add", [1], {"z": 2}, "/kwargs/z"),
        ("add", [1], {"x": 2}, "/kwargs/x"),
        ("add", [1, 2, 3], {}, "/args/2"),
        ("add", [], {}, "/kwargs"),
        ("typed", ["badly formed"], {"at": "2030-01-31T09:00:00Z"}, "/args/0"),
        ("shapes", [], {"a": 1, "b": 2}, "/kwargs/a"),
        ("bound", [1, 2, 3], {}, "/args/2"),
    ],
)
def test_wrong_arguments_are_refused_at_once_with_a_pointer(
    deployment: Deployment, task: str, args: list[Any], kwargs: dict[str, Any], pointer: str
) -> None:
    answer = deployment.post("/api/v1/jobs", {"task": f"tests.{task}", "args": args, "kwargs": kwargs})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-arguments")
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_arguments_that_do_not_fit_any_more_fail_clearly_and_once(deployment: Deployment) -> None:
    done = deployment.ended(_put(deployment, task="tests.add", arguments='[["one"],{}]'))
    assert (done["status"], done["attempt"]) == ("FAILURE", 1)
    assert done["error"]["code"] == "invalid_arguments"
    assert "/args/0" in done["error"]["message"]


def test_a_task_that_is_unknown_is_refused_at_once(deployment: Deployment) -> None:
    answer = deployment.post("/api/v1/jobs", {"task": "tests.ad"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-task")
    assert "tests.add" in answer.json()["detail"]


def test_a_task_that_the_worker_does_not_know_fails_clearly_and_once(deployment: Deployment) -> None:
    # Threads live where the door is, so there only an older row can name such a task.
    job = deployment.submit("forgotten")["id"] if deployment.celery else _put(deployment, task="tests.forgotten")
    done = deployment.ended(job)
    assert (done["status"], done["error"]["code"]) == ("FAILURE", "unknown_task")
    # Threads find out by taking it: they give it back once, for somebody who may know it.
    assert done["attempt"] == (1 if deployment.celery else 2)
    assert "TASK_MODULES" in done["error"]["message"]
