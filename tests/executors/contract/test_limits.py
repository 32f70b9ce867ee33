"""Time limits: soft is raised in the body, hard ends it; and the limits that many jobs share."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.deployment import Deployment, moment
from tests.support.ledger import Ledger
from tests.support.waiting import eventually


def lives(pid: str) -> bool:
    """Whether there is such a process, and it is not a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _abandoned(deployment: Deployment) -> int:
    """How many bodies were given up, and go on."""
    return sum(worker["abandoned"] for worker in deployment.client.get("/api/v1/workers").json()["workers"])


@pytest.mark.parametrize("task", ["catch", "catch_async"])
def test_a_soft_limit_can_be_caught(deployment: Deployment, task: str) -> None:
    done = deployment.run(task, soft_time_limit=0.2, time_limit=20)
    assert (done["status"], done["result"]) == ("SUCCESS", "caught")
    assert 0.2 <= done["runtime"] < 2


@pytest.mark.parametrize("task", ["loop", "loop_async"])
def test_a_soft_limit_that_is_not_caught_is_a_timeout(deployment: Deployment, ledger: Ledger, task: str) -> None:
    done = deployment.run(task, str(ledger), soft_time_limit=0.2, time_limit=20)
    assert (done["status"], done["error"]["code"]) == ("FAILURE", "timeout")
    assert done["error"]["type"] == "SoftTimeLimitExceeded"
    assert ledger.lines() == ["SoftTimeLimitExceeded"]


def test_a_job_that_ran_out_of_soft_time_is_retried_like_any_other(deployment: Deployment, ledger: Ledger) -> None:
    job = deployment.submit("loop", str(ledger), soft_time_limit=0.2, time_limit=20, max_retries=1)
    waiting = deployment.reaches(job, "RETRY")
    assert waiting["error"]["code"] == "timeout"
    assert deployment.cancel(job) == "revoked"


@pytest.mark.parametrize("task", ["stubborn", "stubborn_async"])
def test_a_body_that_ignores_its_soft_limit_may_finish(
    deployment: Deployment, ledger: Ledger, tmp_path: Path, task: str
) -> None:
    gate = tmp_path / "gate"
    job = deployment.submit(task, str(ledger), str(gate), soft_time_limit=0.1, time_limit=20)
    started = moment(deployment.reaches(job, "STARTED")["started_at"])
    # Another job's end that is later than the limit shows that the limit has passed.
    eventually(lambda: moment(deployment.run("add", 1)["finished_at"]) > started + 0.3)
    assert deployment.read(job)["status"] == "STARTED"
    gate.touch()
    assert deployment.ended(job)["status"] == "SUCCESS"


@pytest.mark.parametrize("task", ["nap", "nap_async"])
def test_a_hard_limit_ends_the_job(deployment: Deployment, task: str) -> None:
    done = deployment.run(task, 3, time_limit=0.4)
    assert (done["status"], done["error"]["code"], done["attempt"]) == ("FAILURE", "timeout", 1)
    assert "0.4 s" in done["error"]["message"]
    assert 0.4 <= moment(done["finished_at"]) - moment(done["started_at"]) < 1.5


@pytest.mark.parametrize("task", ["stubborn", "stubborn_async"])
def test_a_hard_limit_ends_even_a_body_that_ignores_everything(
    deployment: Deployment, ledger: Ledger, tmp_path: Path, task: str
) -> None:
    gate = tmp_path / "gate"
    done = deployment.run(task, str(ledger), str(gate), soft_time_limit=0.1, time_limit=0.4)
    assert (done["status"], done["error"]["code"]) == ("FAILURE", "timeout")
    (pid,) = ledger.lines()
    if deployment.capabilities["hard_limit"] == "process":
        eventually(lambda: not lives(pid), what="the body's process is gone")
    else:
        # It cannot be ended: that is said, its thread is not trusted again, and its late result is refused.
        assert lives(pid)
        eventually(lambda: _abandoned(deployment), what="it is counted")
    with deployment.busy():
        pass  # all slots are there again
    gate.touch()
    assert deployment.run("add", 1)["status"] == "SUCCESS"
    assert deployment.read(done) == done
    assert deployment.statuses(done) == ["PENDING", "STARTED", "FAILURE"]


def test_an_attempt_that_ran_out_of_hard_time_is_not_repeated(deployment: Deployment, ledger: Ledger) -> None:
    done = deployment.run("note_pid", str(ledger), 5, time_limit=0.3, max_retries=3)
    assert (done["status"], done["error"]["code"], done["attempt"]) == ("FAILURE", "timeout", 1)
    assert len(ledger.lines()) == 1


def test_a_quick_job_never_meets_its_limits(deployment: Deployment) -> None:
    jobs = [{"task": "add", "args": [n], "soft_time_limit": 5, "time_limit": 6, "tags": ["quick"]} for n in range(50)]
    deployment.batch(jobs)
    assert {job["status"] for job in deployment.all_ended("quick", 50)} == {"SUCCESS"}


def test_the_default_limits_are_shown(deployment: Deployment) -> None:
    done = deployment.run("add", 1)
    assert (done["soft_time_limit"], done["time_limit"]) == (300, 600)


def test_a_soft_limit_above_the_hard_one_is_refused(deployment: Deployment) -> None:
    answer = deployment.post("/api/v1/jobs", {"task": "tests.nap", "args": [1], "soft_time_limit": 3, "time_limit": 2})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/soft_time_limit")


def test_a_rate_limit_holds_for_all_slots_together(deployment: Deployment) -> None:
    deployment.batch([{"task": "rated", "tags": ["rated"]}] * 14)
    done = deployment.all_ended("rated", 14)
    starts = sorted(moment(job["started_at"]) for job in done)
    gaps = [after - before for before, after in pairwise(starts)]
    # Ten in any second. A start that came late is made up for by the next, within bounds: 28 ms.
    assert all(after - before >= 0.999 for before, after in zip(starts, starts[10:], strict=False)), gaps
    assert min(gaps) >= 0.103 - 0.028 - 0.002, gaps
    assert starts[-1] - starts[0] < 4 * 1.3, gaps


def test_a_concurrency_limit_holds_for_all_slots_together(deployment: Deployment) -> None:
    deployment.batch([{"task": "few", "tags": ["few"]}] * 8)
    done = deployment.all_ended("few", 8)
    spans = [(moment(job["started_at"]), moment(job["finished_at"])) for job in done]
    for start, _ in spans:
        assert sum(began <= start < ended for began, ended in spans) <= 2, spans


def test_jobs_without_a_limit_pass_those_that_wait_for_one(deployment: Deployment) -> None:
    deployment.batch([{"task": "rated", "tags": ["waiting"]}] * 8)
    free = deployment.run("add", 1)
    limited = deployment.all_ended("waiting", 8)
    assert free["finished_at"] < max(job["started_at"] for job in limited)
