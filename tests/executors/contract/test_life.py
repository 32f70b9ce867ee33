"""A job's life: what it says of itself, from acceptance to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployment import Deployment, moment
from tests.support.ledger import Ledger
from tests.support.waiting import eventually


def test_a_job_is_accepted_run_and_read(deployment: Deployment) -> None:
    accepted = deployment.submit("add", 1, 2, tags=["sum"])
    assert (accepted["status"], accepted["attempt"], accepted["started_at"]) == ("PENDING", 0, None)
    done = deployment.ended(accepted)
    assert (done["status"], done["result"], done["error"]) == ("SUCCESS", 3, None)
    assert (done["attempt"], done["retries"], done["tags"]) == (1, 0, ["sum"])
    assert done["created_at"] <= done["due_at"] <= done["started_at"] <= done["finished_at"]
    assert 0 <= done["runtime"] < 5
    assert deployment.get(done, "/result") == 3


def test_a_job_names_the_mode_that_ran_it(deployment: Deployment) -> None:
    assert deployment.run("add", 1)["mode"] == deployment.mode


def test_events_are_in_order_and_each_stands_once(deployment: Deployment) -> None:
    done = deployment.run("add", 1)
    story = [data for event, data in deployment.events(done) if event == "status"]
    assert [data["status"] for data in story] == ["PENDING", "STARTED", "SUCCESS"]
    assert [data["attempt"] for data in story] == [0, 1, 1]
    assert [data["at"] for data in story] == [done["created_at"], done["started_at"], done["finished_at"]]


def test_an_attempt_names_its_worker(deployment: Deployment, ledger: Ledger) -> None:
    done = deployment.run("note_pid", str(ledger))
    (attempt,) = deployment.get(done, "/attempts")["attempts"]
    assert (attempt["attempt"], attempt["status"]) == (1, "SUCCESS")
    workers = deployment.client.get("/api/v1/workers").json()["workers"]
    (name,) = {each["name"] for each in workers if str(each["pid"]) == ledger.lines()[0]}
    assert attempt["worker"] == f"{name} (pid {ledger.lines()[0]})"
    events = [data["worker"] for kind, data in deployment.events(done) if kind == "status"]
    assert events == [None, attempt["worker"], attempt["worker"]]
    (listed,) = [job for job in deployment.client.get("/api/v1/jobs").json()["jobs"] if job["id"] == done["id"]]
    assert done["worker"] == listed["worker"] == attempt["worker"], "the job keeps it after its end"


def test_a_running_job_names_its_worker_and_a_waiting_one_none(deployment: Deployment) -> None:
    with deployment.busy(1):
        (running,) = deployment.client.get("/api/v1/jobs?status=STARTED").json()["jobs"]
        workers = deployment.client.get("/api/v1/workers").json()["workers"]
        assert running["worker"] in {f"{each['name']} (pid {each['pid']})" for each in workers}
    waiting = deployment.submit("add", 1, countdown=60)
    assert waiting["worker"] is None
    assert deployment.client.post(f"/api/v1/jobs/{waiting['id']}/cancel").json()["job"]["worker"] is None


def test_a_task_without_a_queue_uses_the_default_one(deployment: Deployment) -> None:
    done = deployment.run("add", 1)
    assert (done["queue"], done["priority"]) == ("celery", 0)


def test_a_tasks_own_queue_and_priority_are_used(deployment: Deployment) -> None:
    done = deployment.run("named")
    assert (done["result"], done["queue"], done["priority"]) == ("named", "normal", 4)


def test_the_caller_chooses_the_queue_and_the_priority(deployment: Deployment) -> None:
    done = deployment.run("named", queue="other", priority=7)
    assert (done["status"], done["queue"], done["priority"]) == ("SUCCESS", "other", 7)


def test_a_queue_that_nobody_serves_is_refused(deployment: Deployment) -> None:
    answer = deployment.post("/api/v1/jobs", {"task": "tests.named", "queue": "nowhere"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-queue")


def test_a_caller_may_wait_in_the_request(deployment: Deployment) -> None:
    answer = deployment.post("/api/v1/jobs", {"task": "tests.add", "args": [20, 22]}, prefer="wait=15")
    assert (answer.status_code, answer.json()["result"]) == (200, 42)


def test_the_workers_are_known_with_their_slots_and_tasks(deployment: Deployment) -> None:
    workers = deployment.client.get("/api/v1/workers").json()["workers"]
    assert sum(worker["slots"] for worker in workers) == deployment.slots
    for worker in workers:
        assert (worker["mode"], worker["draining"]) == (deployment.mode, False)
        assert "tests.add" in worker["tasks"]
        assert {"urgent", "normal", "celery", "other"} <= set(worker["queues"])


def test_it_says_what_it_can_do(deployment: Deployment) -> None:
    said = deployment.capabilities
    assert (said["mode"], said["priorities"], said["remote_workers"]) == (deployment.mode, 10, deployment.celery)
    for ability in ("stop_running_sync", "stop_running_async", "hard_limit"):
        assert said[ability] in {"process", "interrupt", "cooperative"}
    assert (said["hard_limit"] == "process") == (deployment.shape.pool == "prefork")


@pytest.mark.parametrize("task", ["report", "report_async"])
def test_progress_and_logs_are_seen_while_it_runs_and_after(deployment: Deployment, tmp_path: Path, task: str) -> None:
    gate = tmp_path / "gate"
    job = deployment.submit(task, str(gate))
    seen = eventually(lambda: found if (found := deployment.read(job))["progress"] else None)
    assert (seen["status"], seen["progress"]) == ("STARTED", {"current": 1, "total": 4, "message": "one of four"})
    first = eventually(lambda: deployment.get(job, "/logs")["lines"])
    assert [(line["level"], line["message"], line["attempt"]) for line in first] == [("info", "begun", 1)]
    gate.touch()
    done = deployment.ended(job)
    assert (done["result"], done["progress"]["message"]) == (job["id"], "all")
    assert [line["message"] for line in deployment.get(job, "/logs")["lines"]] == ["begun", "done"]


def test_a_batch_is_accepted_whole_and_run(deployment: Deployment) -> None:
    ids = deployment.batch([{"task": "add", "args": [n, n], "tags": ["batch"]} for n in range(100)])
    done = deployment.all_ended("batch", 100)
    assert [job["id"] for job in done] == ids
    assert [job["result"] for job in done] == [2 * n for n in range(100)]


def test_a_batch_with_one_wrong_job_leaves_no_trace(deployment: Deployment) -> None:
    jobs = [{"task": "tests.add", "args": [1], "tags": ["torn"]}, {"task": "tests.add", "args": ["x"]}]
    answer = deployment.post("/api/v1/jobs:batch", {"jobs": jobs})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/jobs/1/args/0")
    assert deployment.client.get("/api/v1/jobs?tag=torn").json()["jobs"] == []


def test_the_same_key_is_the_same_job(deployment: Deployment, ledger: Ledger) -> None:
    body = {"task": "tests.note", "args": [str(ledger), "once"]}
    answers = [deployment.post("/api/v1/jobs", body, idempotency_key=str(ledger)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 200, 200, 200, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1
    deployment.ended(answers[0].json())
    deployment.run("add", 1)
    assert ledger.lines() == ["once"]


def test_the_same_key_with_another_body_is_refused(deployment: Deployment, ledger: Ledger) -> None:
    first = deployment.post("/api/v1/jobs", {"task": "tests.add", "args": [1]}, idempotency_key=f"{ledger}!")
    other = deployment.post("/api/v1/jobs", {"task": "tests.add", "args": [2]}, idempotency_key=f"{ledger}!")
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-mismatch")
    assert first.json()["id"] in other.json()["detail"]


def test_an_operators_retry_is_a_new_job(deployment: Deployment) -> None:
    old = deployment.run("throw", "odd", tags=["again"], priority=3, queue="other")
    answer = deployment.verb(old, "retry")
    assert (answer.status_code, answer.json()["retry_of"]) == (202, old["id"])
    new = deployment.ended(answer.json())
    assert (new["status"], new["args"], new["tags"]) == ("FAILURE", ["odd"], ["again"])
    assert (new["priority"], new["queue"], new["attempt"]) == (3, "other", 1)
    assert deployment.read(old) == old


def test_a_job_that_is_open_cannot_be_retried(deployment: Deployment) -> None:
    job = deployment.submit("add", 1, held=True)
    assert deployment.verb(job, "retry").status_code == 409
    assert deployment.cancel(job) == "revoked"


def test_queues_and_stats_count_what_is_open(deployment: Deployment) -> None:
    held = [deployment.submit("add", n, queue="other", held=True) for n in range(3)]
    queues = {queue["name"]: queue for queue in deployment.client.get("/api/v1/queues").json()["queues"]}
    assert queues["other"]["depth"]["PENDING"] == 3
    assert queues["other"]["slots"] == deployment.slots
    for job in held:
        deployment.cancel(job)
    done = deployment.run("add", 1)
    totals = eventually(
        lambda: found if (found := deployment.client.get("/api/v1/stats").json())["jobs"]["PENDING"] == 0 else None
    )
    assert (totals["mode"], totals["slots"]) == (deployment.mode, deployment.slots)
    assert totals["jobs"]["SUCCESS"] > 0
    assert moment(done["finished_at"]) > 0
