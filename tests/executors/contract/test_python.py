"""Async bodies, and Python callers: from inside a task, and from a program of their own."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict

import pytest

from tests.support.deployment import JOBS, Deployment
from tests.support.ledger import Ledger
from tests.support.processes import ROOT, python
from tests.support.waiting import eventually


def test_async_bodies_run_a_thousand_times_and_share_one_loop(deployment: Deployment) -> None:
    deployment.batch([{"task": "share_loop", "tags": ["loops"]}] * 1000)
    done = deployment.all_ended("loops", 1000)
    assert {job["status"] for job in done} == {"SUCCESS"}, [job["error"] for job in done if job["error"]][:1]
    loops = defaultdict(set)
    # On a busy machine the first results may have expired before the last job ended.
    for job in (job for job in done if not job["result_expired"]):
        pid, loop = job["result"]
        loops[pid].add(loop)
    assert loops
    assert all(len(of_one) == 1 for of_one in loops.values())


def test_async_bodies_do_not_wait_for_each_other(deployment: Deployment) -> None:
    deployment.batch([{"task": "nap_async", "args": [0.3], "tags": ["naps"]}] * deployment.slots)
    done = deployment.all_ended("naps", deployment.slots)
    assert max(job["started_at"] for job in done) < min(job["finished_at"] for job in done)


def test_no_job_sees_a_context_variable_of_another(deployment: Deployment) -> None:
    work = [{"task": task, "tags": ["left"]} for task in ("leave", "leave_async")] * 2 * deployment.slots
    deployment.batch(work)
    assert {tuple(job["result"]) for job in deployment.all_ended("left", len(work))} == {("nobody", "28")}


@pytest.mark.parametrize("task", ["call", "call_async"])
def test_a_task_submits_a_job_and_waits_for_its_result(deployment: Deployment, task: str) -> None:
    done = deployment.run(task, 41)
    assert done["status"] == "SUCCESS", done["error"]
    called, result, ready, status = done["result"]
    assert (result, ready, status) == (42, True, "SUCCESS")
    inner = deployment.read(called)
    assert (inner["priority"], inner["args"], inner["kwargs"]) == (9, [41], {"y": 1})
    assert inner["mode"] == deployment.mode


def test_tasks_that_would_wait_for_jobs_of_their_own_are_refused(deployment: Deployment) -> None:
    """More than there are slots: waiting, they would keep every slot from the jobs that they wait for."""
    tasks = ["wait_for_own_job", "wait_for_own_job_async"] * deployment.slots
    deployment.batch([{"task": task, "tags": ["waits"]} for task in tasks])
    done = deployment.all_ended("waits", len(tasks))
    assert {(job["status"], job["error"]["type"]) for job in done} == {("FAILURE", "Unsupported")}
    assert all("may not wait for job" in job["error"]["message"] for job in done)


def test_a_task_submits_a_job_and_goes_on(deployment: Deployment) -> None:
    done = deployment.run("call_delay", 4)
    assert deployment.ended(done["result"])["result"] == 5


def test_a_handle_tells_why_a_job_failed(deployment: Deployment) -> None:
    assert deployment.run("call_failing")["result"] == ["JobFailed", "task_error", "Odd"]


def _program(deployment: Deployment, *arguments: str) -> dict[str, object]:
    command = python("-m", "tests.support.program", *arguments)
    ran = subprocess.run(
        command, cwd=ROOT, env=deployment.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    told: dict[str, object] = json.loads(ran.stdout)
    return told


def test_a_plain_program_submits_and_waits(deployment: Deployment, ledger: Ledger) -> None:
    told = _program(deployment, str(ledger))
    assert told["results"] == [3, 30, 300]
    assert told["status"] == "SUCCESS"
    assert told["ready"] == [False, True]
    assert told["failed"] == ["task_error", "Odd"]
    assert told["too_soon"] == "WaitTimeout"
    assert told["cancelled"] == "REVOKED"
    assert told["refused"] == "/args/0"
    ended = [3, "SUCCESS", True, False, True, "JobFailed", False, True]
    assert told["celery"] == [*ended, None, None, False, "REVOKED"]
    assert told["unbound"] == "ConfigurationError"
    assert ledger.lines() == ["from a program"]
    # What it submitted is seen at the door.
    job = deployment.read(str(told["id"]))
    assert (job["status"], job["task"], job["mode"]) == ("SUCCESS", "tests.note", deployment.mode)


def test_a_result_is_kept_for_its_time_and_then_gone(deployment: Deployment) -> None:
    (job,) = deployment.client.get(JOBS, params={"tag": "keep"}).json()["jobs"]
    gone = eventually(
        lambda: found if (found := deployment.client.get(f"{JOBS}/{job['id']}/result")).status_code == 410 else None, 45
    )
    assert gone.json()["type"] == "/problems/result-expired"
    read = deployment.read(job)
    assert (read["status"], read["result"], read["result_expired"]) == ("SUCCESS", None, True)
