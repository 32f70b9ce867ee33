"""Task functions in C code that hold the interpreter's lock of a process of Celery's prefork pool."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from executors.attempt_table import PROCESSES, AttemptTable
from tasks.job import Attempt
from tests.executors.conftest import Deploy
from tests.support.deployment import TIMINGS, Deployment
from tests.support.ledger import Ledger

LEASE = float(TIMINGS["JOBGATE_LEASE"])


@pytest.fixture(params=["sqlite", "postgresql"])
def deployment(
    request: pytest.FixtureRequest,
    deploy: Deploy,
    make_database: Callable[[str], str],
    make_broker: Callable[[str], str],
) -> Deployment:
    """One slot: no other process of the worker can look after the job."""
    return deploy(make_database(request.param), pool="prefork", broker_url=make_broker("redis"), slots=1)


def _ended(deployment: Deployment, job: dict[str, Any]) -> dict[str, Any]:
    """The job once it has ended, and its slot is free again."""
    done = deployment.ended(job, 40)
    assert deployment.run("add", 1)["result"] == 11
    return done


def test_it_is_killed_at_its_limit(deployment: Deployment, ledger: Ledger) -> None:
    options = {"time_limit": 2 * LEASE, "soft_time_limit": LEASE, "max_retries": 1}
    done = _ended(deployment, deployment.submit("hold_lock", str(ledger), 50, **options))
    assert (done["status"], done["error"]["code"], done["attempt"]) == ("FAILURE", "timeout", 1)
    assert deployment.statuses(done) == ["PENDING", "STARTED", "FAILURE"]


def test_it_keeps_its_job_while_it_computes_for_longer_than_a_lease(deployment: Deployment, ledger: Ledger) -> None:
    done = _ended(deployment, deployment.submit("hold_lock", str(ledger), round(2 * LEASE) + 1))
    assert (done["status"], done["attempt"], len(ledger.lines())) == ("SUCCESS", 1, 1)


def test_it_is_killed_when_it_is_cancelled_and_when_its_worker_ends(deployment: Deployment, ledger: Ledger) -> None:
    job = deployment.submit("hold_lock", str(ledger), 50)
    deployment.reaches(job, "STARTED")
    deployment.verb(job, "cancel")
    assert _ended(deployment, job)["status"] == "REVOKED"
    job = deployment.submit("hold_lock", str(ledger), 50)
    deployment.reaches(job, "STARTED")
    os.kill(deployment.workers[0].pid, signal.SIGTERM)
    released = deployment.reaches(job, "PENDING")
    assert (released["retries"], released["error"]) == (0, None)


def test_a_table_shows_what_its_processes_run() -> None:
    table = AttemptTable()
    attempt = Attempt("1", "shop.sync", "celery", 5, "[[1],{}]", 1, 0, 0, 3, 3, None, 60.0, 0, "owner")
    table.begin(1, attempt)
    found = table.read(1)
    assert found is not None
    assert (found.pid, found.attempt.id, found.attempt.arguments) == (os.getpid(), "1", "[[],{}]")
    table.show_progress(1)
    later = table.read(1)
    assert later is not None
    assert later.progress_at > found.progress_at
    table.clear(1)
    table.begin(PROCESSES, attempt)
    assert [table.read(index) for index in (0, 1, 2, PROCESSES)] == [None] * 4
