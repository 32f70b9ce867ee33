"""What the log of a process says of jobs: one line an attempt, and the job on every line that its task writes."""

from __future__ import annotations

import pytest

from tests.support.deployment import Deployment
from tests.support.waiting import eventually


def lines_about(deployment: Deployment, job: dict[str, object]) -> list[str]:
    """Of all its processes, from their start on."""
    texts = (log.read_text(errors="replace") for log in sorted(deployment.folder.glob("*.log")))
    return [line for text in texts for line in text.splitlines() if str(job["id"]) in line]


@pytest.mark.parametrize("task", ["chat", "chat_async"])
def test_a_task_s_own_lines_reach_the_process_s_log_and_the_job_s(deployment: Deployment, task: str) -> None:
    done = deployment.run(task, "order 4711")
    assert done["status"] == "SUCCESS", done["error"]
    kept = [(line["level"], line["message"]) for line in deployment.get(done, "/logs")["lines"]]
    assert kept == [("info", "begins with order 4711"), ("warning", "100% of order 4711")]
    wanted = ["INFO shop.orders: begins with order 4711", "WARNING shop.orders: 100% of order 4711"]
    for words in wanted:
        line = eventually(lambda words=words: next((x for x in lines_about(deployment, done) if words in x), ""))
        assert line.endswith(f"[job {done['id']}, task {done['task']}, attempt 1]")


def test_each_attempt_leaves_one_line_with_its_outcome(deployment: Deployment) -> None:
    done = deployment.run("fail", 1)
    ends = eventually(
        lambda: found if len(found := [x for x in lines_about(deployment, done) if "jobgate.attempt" in x]) == 2 else []
    )
    failed, succeeded = ends
    assert "WARNING jobgate.attempt: retry: RETRY after" in failed
    assert "attempt 1" in failed
    assert "INFO jobgate.attempt: succeed: SUCCESS after" in succeeded
    assert f"queue {done['queue']}" in succeeded


def test_no_line_of_a_burst_is_lost_without_a_word(deployment: Deployment) -> None:
    done = deployment.run("chatter", 30_000)
    assert done["status"] == "SUCCESS", done["error"]
    kept, said, after = 0, 0, 0
    while page := deployment.client.get(f"/api/v1/jobs/{done['id']}/logs", params={"after": after}).json():
        for line in page["lines"]:
            kept += line["message"].startswith("line ")
            if line["message"].endswith("faster than the store takes them"):
                said += int(line["message"].partition(" ")[0].replace(",", ""))
        if not page["lines"]:
            break
        after = page["next_after"]
    assert kept + said == 30_000
