"""kill -9 of whatever runs a job: the job ends once, and soon. Each test prints how soon."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.executors.conftest import Deploy
from tests.support.deployment import TIMINGS, Deployment
from tests.support.ledger import Ledger
from tests.support.waiting import eventually

LEASE = float(TIMINGS["JOBGATE_LEASE"])


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, make_database: Callable[[str], str]) -> str:
    return make_database(request.param)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def _running(deployment: Deployment, ledger: Ledger, gate: Path) -> tuple[dict[str, Any], int]:
    """A job under way, and the process whose body it is."""
    job = deployment.submit("pids", str(ledger), str(gate))
    deployment.reaches(job, "STARTED")
    (pid,) = eventually(ledger.lines)
    return job, int(pid)


def _recovered(deployment: Deployment, job: dict[str, Any], ledger: Ledger, gate: Path, since: float) -> None:
    """It runs a second time, ends, and ends once."""
    eventually(lambda: len(ledger.lines()) == 2, 20, "the second attempt has begun")
    seconds = time.monotonic() - since
    gate.touch()
    done = deployment.ended(job)
    assert (done["status"], done["attempt"], done["retries"]) == ("SUCCESS", 2, 0)
    assert str(done["result"]) == ledger.lines()[1]
    assert deployment.statuses(job) == ["PENDING", "STARTED", "RETRY", "STARTED", "SUCCESS"]
    (lost, won) = deployment.get(job, "/attempts")["attempts"]
    assert (lost["error"]["code"], won["error"]) == ("worker_lost", None)
    print(f"{os.environ['PYTEST_CURRENT_TEST']}: the next attempt began {seconds:.2f} s later")


def test_a_killed_prefork_child(
    deploy: Deploy, url: str, make_broker: Callable[[str], str], ledger: Ledger, gate: Path
) -> None:
    deployment = deploy(url, pool="prefork", broker_url=make_broker("redis"), slots=2)
    job, pid = _running(deployment, ledger, gate)
    assert pid in deployment.workers[0].children()
    since = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    _recovered(deployment, job, ledger, gate, since)
    deployment.wait_for_slots()
    with deployment.busy():
        pass  # the pool is whole again


def test_a_killed_worker(
    deploy: Deploy, url: str, make_broker: Callable[[str], str], ledger: Ledger, gate: Path
) -> None:
    deployment = deploy(url, pool="prefork", broker_url=make_broker("redis"), slots=1, workers=2)
    job, pid = _running(deployment, ledger, gate)
    (victim,) = (worker for worker in deployment.workers if pid in worker.children())
    since = time.monotonic()
    # The whole worker: the parent first, or it would replace the child.
    victim.kill()
    os.killpg(victim.pid, signal.SIGKILL)
    _recovered(deployment, job, ledger, gate, since)


def test_a_killed_worker_and_nobody_left(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], ledger: Ledger, gate: Path
) -> None:
    deployment = deploy(make_database("sqlite"), pool="threads", broker_url=make_broker("redis"), slots=2)
    job, pid = _running(deployment, ledger, gate)
    assert pid == deployment.workers[0].pid
    waiting = deployment.submit("add", 1)
    since = time.monotonic()
    deployment.workers[0].kill()
    deployment.reaches(job, "RETRY")
    assert deployment.submit("add", 2)["status"] == "PENDING"
    deployment.start_worker()
    _recovered(deployment, job, ledger, gate, since)
    assert deployment.ended(waiting)["status"] == "SUCCESS"


def test_a_killed_gateway_in_thread_mode(deploy: Deploy, url: str, ledger: Ledger, gate: Path) -> None:
    deployment = deploy(url, slots=2)
    job, pid = _running(deployment, ledger, gate)
    assert pid == deployment.gateway.pid
    waiting = deployment.submit("add", 1, countdown=0.5)
    since = time.monotonic()
    deployment.gateway.kill()
    deployment.stop_gateway()
    deployment.start_gateway()
    _recovered(deployment, job, ledger, gate, since)
    assert deployment.ended(waiting)["result"] == 11


def test_a_killed_gateway_in_celery_mode_stops_no_worker(
    deploy: Deploy, url: str, make_broker: Callable[[str], str], ledger: Ledger, gate: Path
) -> None:
    deployment = deploy(url, pool="prefork", broker_url=make_broker("redis"), slots=1)
    job, _ = _running(deployment, ledger, gate)
    waiting = deployment.submit("add", 1)
    deployment.gateway.kill()
    gate.touch()
    deployment.stop_gateway()
    deployment.start_gateway()
    done = deployment.ended(job)
    assert (done["status"], done["attempt"]) == ("SUCCESS", 1)
    assert deployment.ended(waiting)["status"] == "SUCCESS"
    assert len(ledger.lines()) == 1


def test_a_poisonous_job_is_given_up(
    deploy: Deploy, url: str, make_broker: Callable[[str], str], ledger: Ledger
) -> None:
    """It kills its process each time: its losses have a budget, and others are not held up for ever."""
    deployment = deploy(url, pool="prefork", broker_url=make_broker("redis"), slots=2)
    job = deployment.submit("die", str(ledger))
    healthy = deployment.submit("add", 1)
    done = deployment.ended(job)
    assert (done["status"], done["error"]["code"]) == ("FAILURE", "worker_lost")
    assert (done["attempt"], done["retries"], len(ledger.lines())) == (2, 0, 2)
    assert deployment.ended(healthy)["status"] == "SUCCESS"


def test_a_worker_that_is_asked_to_end_gives_back_what_it_cannot_finish(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], ledger: Ledger, gate: Path
) -> None:
    deployment = deploy(
        make_database("sqlite"),
        pool="prefork",
        broker_url=make_broker("redis"),
        slots=1,
        environment={"JOBGATE_DRAIN_TIMEOUT": "1"},
    )
    job, _ = _running(deployment, ledger, gate)
    quick = deployment.submit("add", 1)
    deployment.workers[0].stop()
    deployment.workers.clear()
    released = deployment.reaches(job, "PENDING")
    assert (released["retries"], released["error"]) == (0, None)
    deployment.start_worker()
    eventually(lambda: len(ledger.lines()) == 2)
    gate.touch()
    assert deployment.ended(job)["status"] == "SUCCESS"
    assert deployment.ended(quick)["status"] == "SUCCESS"


def test_children_that_are_replaced_lose_no_job(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], ledger: Ledger
) -> None:
    life = {"CELERY_WORKER_MAX_TASKS_PER_CHILD": "5"}
    broker = make_broker("redis")
    deployment = deploy(make_database("sqlite"), pool="prefork", broker_url=broker, slots=2, environment=life)
    deployment.batch([{"task": "note_pid", "args": [str(ledger), 0], "tags": ["worn"]}] * 40)
    done = deployment.all_ended("worn", 40)
    assert {(job["status"], job["retries"]) for job in done} == {("SUCCESS", 0)}
    assert len(ledger.lines()) == 40
    assert len(set(ledger.lines())) >= 5, "no child lived for more than a few"


def test_a_gateway_that_stood_still_for_longer_than_a_lease_keeps_its_jobs(
    deploy: Deploy, make_database: Callable[[str], str], tmp_path: Path
) -> None:
    database = make_database("sqlite")
    deployment = deploy(database, slots=2)
    gate = tmp_path / "gate"
    jobs = [deployment.submit(task, str(gate)) for task in ("block", "report_async")]
    for job in jobs:
        deployment.reaches(job, "STARTED")

    def ran_out() -> bool:
        with contextlib.closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as record:
            (until,) = record.execute("SELECT MAX(lease_until) FROM jobs").fetchone()
        return bool(until < time.time() * 1000)

    os.kill(deployment.gateway.pid, signal.SIGSTOP)
    try:
        eventually(ran_out, 20, "the leases have run out")
    finally:
        os.kill(deployment.gateway.pid, signal.SIGCONT)
    gate.touch()
    for job in jobs:
        done = deployment.ended(job)
        assert (done["status"], done["attempt"]) == ("SUCCESS", 1), done["error"]
