"""When a job starts, and before which others: priority, queues, eta, expiry, hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.deployment import Deployment, moment
from tests.support.ledger import Ledger
from tests.support.waiting import eventually


def _at_once(seconds: float) -> str:
    """A moment for several jobs to come due together: who goes first is then a matter of order alone."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _run_through_one_slot(deployment: Deployment, ledger: Ledger, jobs: list[dict[str, Any]]) -> list[str]:
    """The order in which these notes are written when they come due together and one slot is free."""
    with deployment.busy() as blockers:
        eta = _at_once(0.5)
        ids = deployment.batch(
            [{**job, "task": "note", "args": [str(ledger), *job["args"]], "eta": eta} for job in jobs]
        )
        marker = deployment.submit("add", 1, eta=eta, queue="other")
        _wait_until_due(deployment, marker)
        blockers.release(1)
        for job in ids:
            deployment.ended(job)
        deployment.ended(marker)
    return ledger.lines()


def _wait_until_due(deployment: Deployment, job: dict[str, Any]) -> None:
    """All that come due in one moment are staged in one transaction, so one of them speaks for all."""

    def due() -> bool:
        queues = deployment.client.get("/api/v1/queues").json()["queues"]
        return next(queue["oldest_age"] for queue in queues if queue["name"] == job["queue"]) > 0

    eventually(due, what="the last of them has come due")


def test_the_higher_priority_starts_first(deployment: Deployment, ledger: Ledger) -> None:
    jobs = [{"args": [str(priority)], "priority": priority} for priority in (0, 5, 9, 1, 7, 3)]
    assert _run_through_one_slot(deployment, ledger, jobs) == ["9", "7", "5", "3", "1", "0"]


def test_equal_priorities_start_in_the_order_of_their_acceptance(deployment: Deployment, ledger: Ledger) -> None:
    jobs = [{"args": [str(n)], "priority": 5} for n in range(8)]
    assert _run_through_one_slot(deployment, ledger, jobs) == [str(n) for n in range(8)]


def test_a_strictly_earlier_queue_goes_before_any_priority(deployment: Deployment, ledger: Ledger) -> None:
    jobs = [
        {"args": ["normal 9"], "queue": "normal", "priority": 9},
        {"args": ["urgent 0"], "queue": "urgent", "priority": 0},
        {"args": ["celery 5"], "queue": "celery", "priority": 5},
        {"args": ["urgent 1"], "queue": "urgent", "priority": 1},
    ]
    order = _run_through_one_slot(deployment, ledger, jobs)
    assert order[:2] == ["urgent 1", "urgent 0"]
    assert sorted(order[2:]) == ["celery 5", "normal 9"]


def test_a_job_never_starts_before_its_eta(deployment: Deployment) -> None:
    eta = _at_once(0.5)
    done = deployment.run("add", 1, eta=eta)
    assert abs(moment(done["due_at"]) - moment(eta)) < 0.002
    assert 0 <= moment(done["started_at"]) - moment(done["due_at"]) < 1


def test_a_job_never_starts_before_its_countdown(deployment: Deployment) -> None:
    done = deployment.run("add", 1, countdown=0.4)
    assert abs(moment(done["due_at"]) - moment(done["created_at"]) - 0.4) < 0.002
    assert 0.399 <= moment(done["started_at"]) - moment(done["created_at"]) < 1.4


def test_an_eta_in_the_past_is_now(deployment: Deployment) -> None:
    done = deployment.run("add", 1, eta="2020-01-31T09:00:00Z")
    assert (done["status"], done["due_at"]) == ("SUCCESS", done["created_at"])


def test_those_without_delay_pass_those_with_one(deployment: Deployment) -> None:
    delayed = deployment.submit("add", 1, countdown=0.4)
    assert deployment.run("add", 1)["finished_at"] < deployment.ended(delayed)["started_at"]


def test_a_job_that_expires_before_it_could_start_is_revoked(deployment: Deployment, ledger: Ledger) -> None:
    with deployment.busy():
        job = deployment.submit("note", str(ledger), "started", expires=0.2)
        done = deployment.ended(job, within=5)
        assert (done["status"], done["error"]["code"], done["attempt"]) == ("REVOKED", "expired", 0)
    deployment.run("add", 1)
    assert ledger.lines() == []


def test_a_job_in_time_does_not_expire(deployment: Deployment) -> None:
    done = deployment.run("nap", 0.4, expires=0.3)
    assert (done["status"], moment(done["finished_at"]) > moment(done["expires_at"])) == ("SUCCESS", True)


def test_a_delayed_job_may_expire_before_it_is_due(deployment: Deployment, ledger: Ledger) -> None:
    done = deployment.run("note", str(ledger), "started", countdown=60, expires=0.1)
    assert (done["status"], done["error"]["code"]) == ("REVOKED", "expired")
    assert ledger.lines() == []


def test_a_held_job_waits_for_its_release(deployment: Deployment) -> None:
    job = deployment.submit("add", 1, held=True, priority=9)
    for _ in range(deployment.slots):
        deployment.run("add", 2)
    found = deployment.read(job)
    assert (found["status"], found["held"]) == ("PENDING", True)
    assert deployment.verb(job, "release").json()["held"] is False
    assert deployment.ended(job)["result"] == 11


def test_a_waiting_job_can_be_held_and_released(deployment: Deployment) -> None:
    with deployment.busy():
        job = deployment.submit("add", 1)
        assert deployment.verb(job, "hold").json()["held"] is True
    deployment.run("add", 2)
    assert deployment.read(job)["status"] == "PENDING"
    deployment.verb(job, "release")
    assert deployment.ended(job)["status"] == "SUCCESS"


def test_what_runs_or_has_ended_cannot_be_held(deployment: Deployment) -> None:
    done = deployment.run("add", 1)
    assert deployment.verb(done, "hold").status_code == 409
    assert deployment.verb(done, "release").status_code == 409
    job = deployment.submit("nap_async", 0.3)
    deployment.reaches(job, "STARTED")
    assert deployment.verb(job, "hold").status_code == 409
    assert deployment.ended(job)["status"] == "SUCCESS"
