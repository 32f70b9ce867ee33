"""What happens when a task fails, or returns what cannot be kept."""

from __future__ import annotations

import pytest

from tests.support.deployment import Deployment, moment


def _starts(deployment: Deployment, job: dict[str, object]) -> list[float]:
    return [moment(attempt["started_at"]) for attempt in deployment.get(job, "/attempts")["attempts"]]


def test_a_failed_job_says_what_was_raised(deployment: Deployment) -> None:
    done = deployment.run("throw", "odd")
    assert (done["status"], done["result"], done["attempt"], done["retries"]) == ("FAILURE", None, 1, 1)
    assert (done["error"]["code"], done["error"]["type"]) == ("task_error", "Odd")
    # What no store takes is replaced; the rest of the words stays.
    assert done["error"]["message"].startswith("half ")
    assert done["error"]["message"].endswith("of a pair and NUL \ufffd")
    answer = deployment.client.get(f"/api/v1/jobs/{done['id']}/result")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/job-failed")


@pytest.mark.parametrize("task", ["throw", "throw_async"])
@pytest.mark.parametrize(
    ("kind", "type", "words"),
    [
        ("mute", "Mute", "could not be described"),
        ("empty", "Odd", "Odd"),
        ("exit", "SystemExit", "3"),
        ("interrupt", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("generator", "GeneratorExit", "GeneratorExit"),
        ("cancelled", "CancelledError", "CancelledError"),
        ("memory", "MemoryError", "MemoryError"),
    ],
)
def test_whatever_is_raised_ends_the_attempt_and_nothing_else(
    deployment: Deployment, task: str, kind: str, type: str, words: str
) -> None:
    done = deployment.run(task, kind)
    assert (done["status"], done["error"]["code"], done["error"]["type"]) == ("FAILURE", "task_error", type)
    assert words in done["error"]["message"]
    assert deployment.run("add", 1)["status"] == "SUCCESS"


def test_a_long_message_is_cut(deployment: Deployment) -> None:
    message = deployment.run("throw", "long")["error"]["message"]
    assert len(message) <= 8192
    assert message.endswith("…")


def test_a_failed_job_is_retried_and_told_how_often_it_failed(deployment: Deployment) -> None:
    done = deployment.run("fail", 2)
    assert (done["status"], done["attempt"], done["retries"], done["error"]) == ("SUCCESS", 3, 2, None)
    assert done["result"] == [3, 2, 2]
    assert deployment.statuses(done) == ["PENDING", "STARTED", "RETRY", "STARTED", "RETRY", "STARTED", "SUCCESS"]


def test_retries_wait_longer_each_time(deployment: Deployment) -> None:
    done = deployment.run("fail", 2)
    first, second, third = _starts(deployment, done)
    assert 0.2 <= second - first < 1.2
    assert 0.4 <= third - second < 1.4


def test_each_attempt_tells_how_it_ended(deployment: Deployment) -> None:
    done = deployment.run("fail", 1)
    first, second = deployment.get(done, "/attempts")["attempts"]
    assert (first["status"], first["error"]["message"]) == ("RETRY", "attempt 1")
    assert (second["status"], second["error"]) == ("SUCCESS", None)


def test_when_the_retries_are_used_up_the_job_fails(deployment: Deployment) -> None:
    done = deployment.run("fail", 9, max_retries=1)
    assert (done["status"], done["attempt"], done["max_retries"]) == ("FAILURE", 2, 1)
    assert done["error"]["message"] == "attempt 2"


def test_a_caller_may_ask_for_no_retries(deployment: Deployment) -> None:
    done = deployment.run("fail", 1, max_retries=0)
    assert (done["status"], done["attempt"]) == ("FAILURE", 1)


@pytest.mark.parametrize("how", ["raise", "call"])
def test_a_task_may_ask_for_another_attempt_and_when(deployment: Deployment, how: str) -> None:
    done = deployment.run("ask_again", 0.3, how)
    assert (done["status"], done["result"]) == ("SUCCESS", 2)
    first, second = _starts(deployment, done)
    assert 0.3 <= second - first < 1.3


def test_asking_again_uses_up_retries(deployment: Deployment) -> None:
    done = deployment.run("ask_again", 0.0, "raise", max_retries=0)
    assert (done["status"], done["attempt"], done["error"]["type"]) == ("FAILURE", 1, "Retry")


def test_a_fatal_error_is_not_retried(deployment: Deployment) -> None:
    done = deployment.run("fatal")
    assert (done["status"], done["attempt"], done["max_retries"]) == ("FAILURE", 1, 3)
    assert (done["error"]["type"], done["error"]["message"]) == ("FatalError", "there is no such account")


def test_the_traceback_is_on_the_job_and_on_each_attempt_and_holds_no_secret(deployment: Deployment) -> None:
    done = deployment.run("reveal", max_retries=1, tags=["revealed"])
    runs = deployment.get(done, "/attempts")["attempts"]
    traces = [done["error"]["traceback"], *(run["error"]["traceback"] for run in runs)]
    assert len(traces) == 3
    for trace in traces:
        assert trace.startswith("Traceback (most recent call last):")
        assert "in connect_with" in trace, "the frame where it was raised"
        assert "ConnectionError: postgresql://shop:***@db/shop refuses" in trace
    assert [f"run {n}" in run["error"]["traceback"] for n, run in enumerate(runs, 1)] == [True, True]
    assert "hunter2" not in str([done["error"], runs])
    (listed,) = deployment.client.get("/api/v1/jobs", params={"tag": "revealed"}).json()["jobs"]
    assert listed["error"] == {**done["error"], "traceback": None}, "a list leaves it out"


@pytest.mark.parametrize("kind", ["object", "nan", "recursive", "deep", "odd_key", "generator"])
def test_a_result_that_is_not_json_is_said_so(deployment: Deployment, kind: str) -> None:
    done = deployment.run("give", kind)
    assert (done["status"], done["error"]["code"]) == ("FAILURE", "result_not_serialisable")
    assert "not JSON" in done["error"]["message"]
    assert done["attempt"] == 1


def test_a_result_that_is_too_large_is_said_so(deployment: Deployment) -> None:
    done = deployment.run("give", "large")
    assert (done["status"], done["error"]["code"]) == ("FAILURE", "result_too_large")
    assert "1048576" in done["error"]["message"]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("text", "half \ud83d of a pair, NUL \x00, naïve 文件 🗂"),
        ("nothing", None),
        ("nested", {"a": [1, 2.5, None, True, {"b": "c"}]}),
        ("moment", "2030-01-31T09:00:00Z"),
    ],
)
def test_a_good_result_comes_back_as_it_was(deployment: Deployment, kind: str, result: object) -> None:
    done = deployment.run("give", kind)
    assert (done["status"], done["result"]) == ("SUCCESS", result)
    assert deployment.get(done, "/result") == result
