"""What workers are told, they do, and say so: two real Celery workers, and the gateway's own pool."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from celery import Celery

from tests.support.deployment import Deployment, Shape
from tests.support.ledger import Ledger
from tests.support.processes import ROOT, Process, free_port, python
from tests.support.waiting import eventually

WORKERS = "/api/v1/workers"
CODE = """
from tasks import task


@task(name="tests.release", max_retries=0)
def release() -> {kind}:
    return {value}
"""


@pytest.fixture(scope="module", params=["celery", "thread"])
def deployed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_database: Callable[[str], str],
    make_broker: Callable[[str], str],
) -> Iterator[Deployment]:
    """Two workers of two processes each, or one pool of four threads; one of the tasks lies where it can be changed."""
    folder = tmp_path_factory.mktemp(request.param)
    write_code(folder, "int", "1")
    celery = {
        "pool": "prefork",
        "broker_url": make_broker("redis"),
        "slots": 2,
        "workers": 2,
        "worker_options": ("-E",),
    }
    shape = Shape(
        database_url=make_database("sqlite"),
        environment={"TASK_MODULES": "tests.support.tasks,changing", "PYTHONPATH": str(folder)},
        **(celery if request.param == "celery" else {"slots": 4}),
    )
    started = Deployment(shape, folder)
    try:
        started.start()
        yield started
    finally:
        started.stop()


def write_code(folder: Path, kind: str, value: str) -> None:
    (folder / "changing.py").write_text(CODE.format(kind=kind, value=value))


def listing(deployed: Deployment) -> list[dict[str, Any]]:
    workers: list[dict[str, Any]] = deployed.client.get(WORKERS).json()["workers"]
    return workers


def names(deployed: Deployment) -> list[str]:
    return sorted({worker["name"] for worker in listing(deployed)})


def tell(deployed: Deployment, worker: str, verb: str, state: str = "done", **query: Any) -> list[dict[str, Any]]:
    """The answers, all of which have that state."""
    answer = deployed.client.post(f"{WORKERS}/{worker}/{verb}", params={"wait": 30, **query})
    assert answer.status_code == 200, answer.text
    return answered(deployed, answer.json()["commands"], state)


def answered(deployed: Deployment, asked: list[dict[str, Any]], state: str = "done") -> list[dict[str, Any]]:
    """The same once they are final: on a slow machine that may take longer than anybody waits in one request."""
    ids = {command["id"] for command in asked}

    def final() -> list[dict[str, Any]]:
        commands = deployed.client.get(f"{WORKERS}/commands").json()["commands"]
        mine = [command for command in commands if command["id"] in ids]
        return mine if all(command["finished_at"] for command in mine) else []

    commands = eventually(final, 90, "the workers have answered")
    assert {command["state"] for command in commands} == {state}, commands
    return commands


def slots(deployed: Deployment, name: str) -> int:
    return sum(worker["slots"] for worker in listing(deployed) if worker["name"] == name)


def test_the_list_says_who_works(deployed: Deployment) -> None:
    for worker in listing(deployed):
        assert worker["state"] == "up"
        assert worker["memory"] > 10_000_000
        assert worker["versions"]["jobgate"] == worker["version"]
        assert ("celery" in worker["versions"]) is deployed.celery
        assert "tests.release" in worker["tasks"]
    assert len(names(deployed)) == (2 if deployed.celery else 1)


def test_celerys_own_commands_show_real_names(deployed: Deployment) -> None:
    if not deployed.celery:
        pytest.skip("there is no Celery in thread mode")
    celery = Celery(broker=deployed.shape.broker_url, set_as_current=False)
    ask = celery.control.inspect(timeout=10, limit=2)
    there = set(names(deployed))
    registered = ask.registered()
    assert set(registered) == there
    assert all({"tests.add", "tests.release"} <= set(tasks) for tasks in registered.values())
    with deployed.busy(1) as blockers:
        running = [one for tasks in ask.active().values() for one in tasks]
        assert [(one["name"], one["id"]) for one in running] == [("tests.block", blockers.ids[0])]
    assert set(ask.reserved()) == set(ask.scheduled()) == there
    assert {len(each["pool"]["processes"]) for each in ask.stats().values()} == {2}


def test_celerys_terminate_and_revoke_cancel_jobs(deployed: Deployment) -> None:
    if not deployed.celery:
        pytest.skip("there is no Celery in thread mode")
    control = Celery(broker=deployed.shape.broker_url, set_as_current=False).control
    ask: dict[str, Any] = {"reply": True, "timeout": 10, "limit": 2}
    with deployed.busy():
        waiting = deployed.submit("add", 1)
        (*_, unknown) = control.revoke([waiting["id"], "x" * 100], **ask)
        assert "x" * 100 in next(iter(unknown.values()))["error"]
        assert deployed.ended(waiting)["status"] == "REVOKED"
    running = deployed.submit("block", str(deployed.folder / "never"))
    deployed.reaches(running, "STARTED")
    answers = control.broadcast("terminate", arguments={"signal": "SIGTERM", "task_id": [running["id"]]}, **ask)
    assert all(running["id"] in answer["ok"] for each in answers for answer in each.values())
    done = deployed.ended(running)
    assert (done["status"], done["error"]["code"], done["attempt"]) == ("REVOKED", "cancelled", 1)
    assert done["error"]["message"].startswith("cancelled")
    assert deployed.run("add", 1)["result"] == 11


def test_celerys_purge_throws_rings_away_and_no_jobs(deployed: Deployment) -> None:
    if not deployed.celery:
        pytest.skip("there is no Celery in thread mode")
    with deployed.busy():
        waiting = [deployed.submit("add", n) for n in range(6)]
        app = ["-m", "celery", "-A", "executors.celery_worker"]

        def purged() -> bool:
            command, environment = python(*app, "purge", "-f"), deployed.environment()
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return "Purged" in done.stdout

        eventually(purged, 60, "there were rings to purge")
    assert [deployed.ended(job)["result"] for job in waiting] == [n + 10 for n in range(6)]


def test_flower_shows_workers_and_jobs(deployed: Deployment) -> None:
    if not deployed.celery:
        pytest.skip("there is no Celery in thread mode")
    port = free_port()
    command = python("-m", "celery", "-A", "executors.celery_worker", "flower", "--address=127.0.0.1", f"--port={port}")
    environment = {**deployed.environment(), "FLOWER_UNAUTHENTICATED_API": "true"}
    flower = Process("flower", command, environment, deployed.folder)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:

            def workers() -> Any:
                with suppress(httpx2.HTTPError, ValueError):  # it does not serve yet, or knows nobody
                    found = client.get("/api/workers", params={"refresh": "true"}).json()
                    return found if set(names(deployed)) <= set(found) else None

            shown = eventually(workers, 60, "Flower knows the workers")
            assert all("tests.release" in worker["registered"] for worker in shown.values())

            def seen() -> Any:
                job = deployed.run("add", 1)
                return client.get("/api/tasks").json().get(job["id"])

            assert eventually(seen, 60, "Flower hears of jobs")["name"] == "tests.add"
    finally:
        flower.stop()


def test_a_pool_grows_and_shrinks(deployed: Deployment) -> None:
    name = names(deployed)[0]
    before = slots(deployed, name)
    (grown,) = tell(deployed, name, "grow", n=2)
    assert grown["outcome"] == f"{before + 2} slots"
    assert slots(deployed, name) == before + 2
    with deployed.busy(deployed.slots + 2):
        (busy,) = tell(deployed, name, "shrink", "failed")
        assert "idle" in busy["outcome"] or "busy" in busy["outcome"].lower()
    (shrunk,) = tell(deployed, name, "shrink", n=2)
    assert shrunk["outcome"] == f"{before} slots"
    assert slots(deployed, name) == before


def test_a_worker_leaves_a_queue_and_comes_back(deployed: Deployment) -> None:
    tell(deployed, "all", "leave", queue="other")
    eventually(lambda: not any("other" in worker["queues"] for worker in listing(deployed)), what="nobody serves it")
    left = deployed.submit("add", 1, queue="other")
    assert deployed.run("add", 2)["result"] == 12
    assert deployed.read(left)["status"] == "PENDING"
    (answer, *_) = tell(deployed, "all", "leave", "failed", queue="other")
    assert answer["outcome"].startswith("does not serve it")
    for answer in tell(deployed, "all", "consume", queue="other"):
        assert answer["outcome"].startswith("serves ")
        assert "canary" not in answer["outcome"]
    assert not any("canary" in queue for worker in listing(deployed) for queue in worker["queues"])
    assert deployed.ended(left)["result"] == 11


def test_a_paused_queue_waits_in_this_mode_too(deployed: Deployment) -> None:
    assert deployed.post("/api/v1/queues/other/pause").status_code == 200
    waits = deployed.submit("add", 1, queue="other")
    assert deployed.run("add", 2)["result"] == 12
    assert deployed.read(waits)["status"] == "PENDING"
    assert deployed.post("/api/v1/queues/other/resume").status_code == 200
    assert deployed.ended(waits)["result"] == 11


def test_a_restart_loads_changed_code_and_loses_nothing(deployed: Deployment, ledger: Ledger) -> None:
    assert deployed.run("release")["result"] == 1
    old = {worker["owner"] for worker in listing(deployed)}
    write_code(deployed.folder, "str", "'two'")
    jobs = [{"task": "switched", "args": [str(ledger), n, 0.05], "tags": ["restart"]} for n in range(40)]
    deployed.batch(jobs)
    restarted = deployed.post(f"/api/v1/tasks/workers/pool/restart?worker_name={names(deployed)[0]}&wait=30").json()
    answered(deployed, restarted["workers"])
    if deployed.celery:
        tell(deployed, names(deployed)[1], "restart")
        assert not old & {worker["owner"] for worker in listing(deployed)}
    assert deployed.run("release")["result"] == "two"
    ended = deployed.all_ended("restart", 40)
    assert Counter(job["status"] for job in ended) == {"SUCCESS": 40}
    ends = Counter(line for line in ledger.lines() if line.startswith("end"))
    assert len(ends) == 40
    assert set(ends.values()) == {1}


def test_a_broken_release_leaves_the_old_code(deployed: Deployment) -> None:
    if deployed.celery:
        pytest.skip("a Celery worker begins anew as a process, and says at its start what is wrong")
    before = deployed.run("release")["result"]
    (deployed.folder / "changing.py").write_text("import nothing_of_this_name\n")
    (answer,) = tell(deployed, "all", "restart", "failed")
    assert "nothing_of_this_name" in answer["outcome"]
    assert deployed.run("release")["result"] == before


def test_a_worker_told_to_shut_down_loses_nothing(deployed: Deployment, ledger: Ledger) -> None:
    jobs = [{"task": "switched", "args": [str(ledger), n, 0.05], "tags": ["shutdown"]} for n in range(40)]
    deployed.batch(jobs)
    eventually(lambda: len(ledger.lines()) > 4, what="some have begun")
    first, *others = names(deployed)
    (answer,) = tell(deployed, first, "shutdown")
    assert answer["outcome"].startswith("drained")
    if deployed.celery:
        assert names(deployed) == others
        eventually(lambda: any(worker.code is not None for worker in deployed.workers), what="its process has ended")
    else:
        assert [worker["state"] for worker in listing(deployed)] == ["down"]
        assert deployed.client.get("/readyz").json()["status"] == "degraded"
        write_code(deployed.folder, "str", "'three'")
        tell(deployed, first, "restart")
    ended = deployed.all_ended("shutdown", 40)
    assert Counter(job["status"] for job in ended) == {"SUCCESS": 40}
    ends = Counter(line for line in ledger.lines() if line.startswith("end"))
    assert len(ends) == 40
    assert set(ends.values()) == {1}


def test_what_was_told_is_remembered(deployed: Deployment) -> None:
    tell(deployed, "all", "leave", queue="other")
    tell(deployed, "all", "consume", queue="other")
    commands = deployed.client.get(f"{WORKERS}/commands").json()["commands"]
    assert {"leave", "consume"} <= {command["verb"] for command in commands}
    trail = deployed.client.get("/api/v1/audit?action=commandWorker").json()["entries"]
    assert any(entry["outcome"].endswith("done") for entry in trail)
    nobody = deployed.client.post(f"{WORKERS}/celery@nowhere/shutdown")
    assert (nobody.status_code, nobody.json()["type"]) == (404, "/problems/worker-not-found")
    assert deployed.client.post(f"{WORKERS}/all/explode").status_code == 404
    assert deployed.client.post(f"{WORKERS}/all/grow?queue=celery").status_code == 422
