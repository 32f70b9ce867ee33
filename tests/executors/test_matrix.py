"""Rows of the fault matrix that no other test makes; docs/faults.md has all of them. One deployment for the file."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy
from tests.support.deployment import TIMINGS, Deployment, Shape
from tests.support.ledger import Ledger
from tests.support.servers import Redis
from tests.support.waiting import eventually

DRAIN = float(TIMINGS["JOBGATE_DRAIN_TIMEOUT"])


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    redis = Redis(tmp_path_factory.mktemp("redis"))
    wire = Proxy(redis.port)
    yield wire
    wire.stop()
    redis.stop()


@pytest.fixture(scope="module")
def deployment(wire: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("matrix")
    broker = f"redis://127.0.0.1:{wire.port}/0"
    shape = Shape(database_url=f"sqlite:///{folder / 'jobs.db'}", pool="prefork", broker_url=broker, slots=2)
    started = Deployment(shape, folder)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def test_a_reset_of_all_connections_to_the_broker_runs_no_job_again(
    deployment: Deployment, wire: Proxy, ledger: Ledger, gate: Path
) -> None:
    job = deployment.submit("pids", str(ledger), str(gate))
    deployment.reaches(job, "STARTED")
    wire.reset()
    assert deployment.run("add", 1)["status"] == "SUCCESS", "the worker has connected anew"
    gate.touch()
    assert deployment.ended(job)["attempt"] == 1
    assert len(ledger.lines()) == 1


def test_a_slow_broker_costs_time_and_nothing_else(deployment: Deployment, wire: Proxy, ledger: Ledger) -> None:
    wire.mode = "slow"
    try:
        deployment.batch([{"task": "note", "args": [str(ledger), str(n)], "tags": ["slow"]} for n in range(5)])
        done = deployment.all_ended("slow", 5, within=200)
    finally:
        wire.mode = "pass"
    assert {(job["status"], job["attempt"]) for job in done} == {("SUCCESS", 1)}
    assert sorted(ledger.lines()) == ["0", "1", "2", "3", "4"]


def test_a_worker_that_stands_still_for_less_than_its_lease_loses_nothing(
    deployment: Deployment, ledger: Ledger, gate: Path
) -> None:
    job = deployment.submit("pids", str(ledger), str(gate))
    deployment.reaches(job, "STARTED")
    before = deployment.read(job)["started_at"]
    os.killpg(deployment.workers[0].pid, signal.SIGSTOP)
    # Another job waits meanwhile: its age tells how long the worker has stood still, on the record's own clock.
    waiting = deployment.submit("add", 1)
    eventually(lambda: deployment.client.get("/api/v1/jobs?status=PENDING").json()["jobs"], what="it waits")
    os.killpg(deployment.workers[0].pid, signal.SIGCONT)
    assert deployment.ended(waiting)["status"] == "SUCCESS"
    gate.touch()
    done = deployment.ended(job)
    assert (done["status"], done["attempt"], done["started_at"]) == ("SUCCESS", 1, before)
    assert len(ledger.lines()) == 1


def test_a_gateway_in_thread_mode_on_the_same_record(deployment: Deployment, ledger: Ledger, tmp_path: Path) -> None:
    """It claims what the other one rings for: each job runs once, whoever gets it."""
    other = Deployment(Shape(database_url=deployment.shape.database_url), tmp_path)
    try:
        other.start()
        for _ in range(3):
            for door in (deployment, other):
                door.batch([{"task": "note", "args": [str(ledger), "run"], "tags": ["mixed"]}] * 20)
        done = other.all_ended("mixed", 120)
    finally:
        other.stop()
    assert {(job["status"], job["attempt"]) for job in done} == {("SUCCESS", 1)}
    assert len(ledger.lines()) == 120


def test_a_workers_parent_has_nothing_open_that_a_child_could_inherit(deployment: Deployment) -> None:
    def opened(pid: int) -> list[str]:
        return [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]

    parent = deployment.workers[0]
    assert not [path for path in opened(parent.pid) if "jobs.db" in path]
    assert any("jobs.db" in path for child in parent.children() for path in opened(child)), "that is how it would look"


def test_a_worker_told_twice_to_end_under_load(deployment: Deployment, ledger: Ledger) -> None:
    """The last of the file: it ends the worker."""
    deployment.batch([{"task": "switched", "args": [str(ledger), 10 * n, 0.05], "tags": ["term"]} for n in range(60)])
    eventually(ledger.lines)
    worker = deployment.workers.pop()
    os.kill(worker.pid, signal.SIGTERM)
    deployment.submit("add", 1)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.ends(DRAIN + 15)
    worker.stop()
    deployment.start_worker()
    done = deployment.all_ended("term", 60)
    assert {job["status"] for job in done} == {"SUCCESS"}
    ends = [line for line in ledger.lines() if line.startswith("end")]
    assert len(set(ends)) == 60
