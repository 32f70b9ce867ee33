"""Cancelling, in every state and against every race: it says what it did, and what it said stays true."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.deployment import JOBS, Deployment, moment
from tests.support.ledger import Ledger
from tests.support.waiting import eventually


def _revoked(deployment: Deployment, job: dict[str, object]) -> None:
    done = deployment.read(job)
    assert (done["status"], done["error"]["code"]) == ("REVOKED", "cancelled")


def test_a_waiting_job_that_is_cancelled_never_starts(deployment: Deployment, ledger: Ledger) -> None:
    with deployment.busy():
        job = deployment.submit("note", str(ledger), "started")
        assert deployment.cancel(job) == "revoked"
        _revoked(deployment, job)
    # Those who come after it in the same queue have run: its turn has passed.
    for _ in range(2 * deployment.slots):
        deployment.run("add", 1)
    assert ledger.lines() == []
    assert deployment.statuses(job) == ["PENDING", "REVOKED"]


def test_a_delayed_job_that_is_cancelled_never_starts(deployment: Deployment, ledger: Ledger) -> None:
    job = deployment.submit("note", str(ledger), "started", countdown=0.3)
    assert deployment.cancel(job) == "revoked"
    later = deployment.run("add", 1, countdown=0.4)
    assert moment(later["started_at"]) > moment(job["due_at"])
    _revoked(deployment, job)
    assert ledger.lines() == []


def test_a_held_job_can_be_cancelled(deployment: Deployment) -> None:
    job = deployment.submit("add", 1, held=True)
    assert deployment.cancel(job) == "revoked"
    _revoked(deployment, job)
    assert deployment.verb(job, "release").status_code == 409


def test_a_job_that_waits_for_its_retry_can_be_cancelled(deployment: Deployment) -> None:
    job = deployment.submit("fail_slowly")
    deployment.reaches(job, "RETRY")
    assert deployment.cancel(job) == "revoked"
    _revoked(deployment, job)
    assert deployment.statuses(job) == ["PENDING", "STARTED", "RETRY", "REVOKED"]


def test_a_running_body_stops_where_it_checks(deployment: Deployment, ledger: Ledger) -> None:
    job = deployment.submit("polite", str(ledger))
    eventually(ledger.lines, what="the body has begun, which the record says a little earlier")
    assert deployment.cancel(job) == "asked"
    done = deployment.ended(job)
    assert (done["status"], done["cancel_requested"]) == ("REVOKED", True)
    assert ledger.lines() == ["begun", "stopped politely"]


@pytest.mark.parametrize("task", ["loop", "loop_async"])
def test_a_running_body_is_interrupted(deployment: Deployment, ledger: Ledger, task: str) -> None:
    job = deployment.submit(task, str(ledger))
    deployment.reaches(job, "STARTED")
    assert deployment.cancel(job) == "asked"
    done = deployment.ended(job)
    assert (done["status"], done["error"]["code"]) == ("REVOKED", "cancelled")
    assert ledger.lines() == ["Cancelled"]
    assert deployment.statuses(job) == ["PENDING", "STARTED", "REVOKED"]


@pytest.mark.parametrize("task", ["nap", "nap_async"])
def test_a_sleeping_body_is_stopped_at_the_latest_after_the_grace(deployment: Deployment, task: str) -> None:
    job = deployment.submit(task, 20)
    deployment.reaches(job, "STARTED")
    assert deployment.cancel(job) == "asked"
    assert deployment.ended(job, within=5)["status"] == "REVOKED"
    assert deployment.run("add", 1)["status"] == "SUCCESS"


@pytest.mark.parametrize("task", ["stubborn", "stubborn_async"])
def test_a_body_that_ignores_a_cancel_is_revoked_at_the_grace(
    deployment: Deployment, ledger: Ledger, tmp_path: Path, task: str
) -> None:
    job = deployment.submit(task, str(ledger), str(tmp_path / "gate"))
    deployment.reaches(job, "STARTED")
    eventually(ledger.lines)
    assert deployment.cancel(job) == "asked"
    assert deployment.read(job)["status"] == "STARTED"
    done = deployment.ended(job, within=5)
    assert (done["status"], done["error"]["code"]) == ("REVOKED", "cancelled")
    (tmp_path / "gate").touch()
    with deployment.busy():
        pass  # all slots are there again
    assert deployment.read(job) == done
    assert len(ledger.lines()) == 1


def test_cancelling_what_has_ended_is_a_conflict(deployment: Deployment) -> None:
    for done in (deployment.run("add", 1), deployment.run("throw", "odd")):
        answer = deployment.verb(done, "cancel")
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/state-conflict")
        assert deployment.read(done) == done


def test_cancelling_twice_is_a_conflict_once_it_is_revoked(deployment: Deployment) -> None:
    job = deployment.submit("add", 1, held=True)
    assert deployment.cancel(job) == "revoked"
    assert deployment.verb(job, "cancel").status_code == 409


def test_cancelling_what_never_was_is_not_found(deployment: Deployment) -> None:
    assert deployment.verb("01890000-0000-7000-8000-000000000000", "cancel").status_code == 404


def test_a_success_that_wins_the_race_stays(deployment: Deployment) -> None:
    job = deployment.submit("finish_when_asked")
    deployment.reaches(job, "STARTED")
    assert deployment.cancel(job) == "asked"
    done = deployment.ended(job)
    assert (done["status"], done["result"], done["cancel_requested"]) == ("SUCCESS", "just in time", True)


def test_a_cancel_wins_over_a_retry(deployment: Deployment, ledger: Ledger) -> None:
    """The body turns the interruption into an error of its own; there is no next attempt all the same."""
    job = deployment.submit("wrap", str(ledger))
    deployment.reaches(job, "STARTED")
    eventually(ledger.lines)
    deployment.cancel(job)
    assert deployment.ended(job)["status"] == "REVOKED"
    assert deployment.statuses(job) == ["PENDING", "STARTED", "REVOKED"]


def test_cancels_that_race_with_starts_and_ends_say_what_they_did(deployment: Deployment, ledger: Ledger) -> None:
    jobs = [{"task": "note_pid", "args": [str(ledger), 0.002 * (n % 8)], "tags": ["race"]} for n in range(60)]
    ids = deployment.batch(jobs)
    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(ids, pool.map(lambda each: deployment.post(f"{JOBS}/{each}/cancel"), ids), strict=True))
    done = deployment.all_ended("race", 60)
    for job in done:
        answer = answers[job["id"]]
        action = answer.json().get("action")
        if answer.status_code == 409:
            assert job["status"] == "SUCCESS"
        elif action == "revoked":
            assert (job["status"], job["attempt"]) == ("REVOKED", 0)
        else:
            assert (action, job["attempt"]) == ("asked", 1)
            assert job["status"] in {"SUCCESS", "REVOKED"}
        assert len(deployment.statuses(job)) == 2 + job["attempt"]
    # None that was told to have been revoked before its start has started.
    assert len(ledger.lines()) <= sum(job["attempt"] for job in done)
