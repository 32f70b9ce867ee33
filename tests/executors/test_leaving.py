"""How a process ends: in time, whatever bodies left behind, and at once when it is asked twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from executors.leaving import GRACE
from tests.executors.conftest import Deploy
from tests.support.servers import Postgres
from tests.support.waiting import eventually

#: Seconds beside a busy machine.
PATIENCE = GRACE + 20


@pytest.mark.parametrize("pool", [None, "threads"])
def test_threads_that_a_body_left_behind_hold_nobody_up(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], tmp_path: Path, pool: str
) -> None:
    broker = make_broker("redis") if pool else ""
    deployment = deploy(make_database("sqlite"), pool=pool, broker_url=broker, slots=1)
    end = tmp_path / "end"
    process = deployment.workers[0] if pool else deployment.gateway
    assert deployment.run("leave_threads", str(end))["status"] == "SUCCESS"
    os.kill(process.pid, signal.SIGTERM)
    in_time = process.ends(PATIENCE)
    end.touch()
    assert in_time
    assert process.code == 0
    if not pool:
        assert "threads that tasks left behind: " in process.output


@pytest.mark.parametrize(("signals", "code"), [(("SIGINT", "SIGINT"), 130), (("SIGTERM", "SIGTERM"), 143)])
def test_a_gateway_that_is_asked_twice_gives_its_jobs_back(
    deploy: Deploy, make_database: Callable[[str], str], tmp_path: Path, signals: tuple[str, str], code: int
) -> None:
    deployment = deploy(make_database("sqlite"), slots=2, environment={"JOBGATE_DRAIN_TIMEOUT": "300"})
    gate = tmp_path / "gate"
    jobs = [deployment.submit(task, str(gate)) for task in ("block", "report_async")]
    for job in jobs:
        deployment.reaches(job, "STARTED")
    gateway = deployment.gateway
    os.kill(gateway.pid, signal.Signals[signals[0]])
    gateway.wait_for(r"waiting up to 300 s for the jobs that run \(2\)")
    os.kill(gateway.pid, signal.Signals[signals[1]])
    assert gateway.ends(PATIENCE)
    assert deployment.stop_gateway() == code
    gate.touch()
    deployment.start_gateway()
    for job in jobs:
        done = deployment.ended(job)
        assert (done["status"], done["attempt"], done["retries"]) == ("SUCCESS", 2, 0)
        assert deployment.statuses(job) == ["PENDING", "STARTED", "PENDING", "STARTED", "SUCCESS"]


def test_sigquit_gives_jobs_back_at_once(deploy: Deploy, make_database: Callable[[str], str], tmp_path: Path) -> None:
    deployment = deploy(make_database("sqlite"), slots=1, environment={"JOBGATE_DRAIN_TIMEOUT": "300"})
    job = deployment.submit("block", str(tmp_path / "gate"))
    deployment.reaches(job, "STARTED")
    os.kill(deployment.gateway.pid, signal.SIGQUIT)
    assert deployment.gateway.ends(PATIENCE)
    assert deployment.stop_gateway() == 128 + signal.SIGQUIT
    (tmp_path / "gate").touch()
    deployment.start_gateway()
    assert deployment.ended(job)["status"] == "SUCCESS"
    assert deployment.statuses(job) == ["PENDING", "STARTED", "PENDING", "STARTED", "SUCCESS"]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_says_what_it_waits_for(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], tmp_path: Path, pool: str
) -> None:
    deployment = deploy(make_database("sqlite"), pool=pool, broker_url=make_broker("redis"), slots=2)
    job = deployment.submit("block", str(tmp_path / "gate"))
    deployment.reaches(job, "STARTED")
    (worker,) = deployment.workers
    os.kill(worker.pid, signal.SIGTERM)
    worker.wait_for(r"jobgate: waiting up to 5 s for the jobs that run \(1\)")
    (tmp_path / "gate").touch()
    assert deployment.ended(job)["attempt"] == 1
    assert worker.ends(PATIENCE)


@pytest.mark.parametrize("pool", ["prefork", "threads", None])
def test_a_silent_database_holds_no_end_up(
    deploy: Deploy, make_broker: Callable[[str], str], tmp_path: Path, pool: str | None
) -> None:
    """A server whose processes stand still takes connections and statements, and answers none."""
    postgres = Postgres(tmp_path / "postgres")
    try:
        broker = make_broker("redis") if pool else ""
        environment = {"JOBGATE_DRAIN_TIMEOUT": "1"}
        deployment = deploy(postgres.fresh(), pool=pool, broker_url=broker, slots=1, environment=environment)
        deployment.reaches(deployment.submit("block", str(tmp_path / "gate")), "STARTED")
        process = deployment.workers[0] if pool else deployment.gateway
        children = psutil.Process(process.pid).children(recursive=True)
        with postgres.silent():
            os.kill(process.pid, signal.SIGTERM)
            assert process.ends(1 + PATIENCE)
            eventually(lambda: not any(child.is_running() for child in children), 10, "its processes end with it")
        (tmp_path / "gate").touch()
    finally:
        postgres.stop()
