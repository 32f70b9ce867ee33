"""Commands about jobs, on a real gateway."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from tests.gateway.cli.conftest import Shell
from tests.support.deployment import Deployment

NOBODY = "00000000-0000-7000-8000-000000000000"


def test_a_job_from_its_submission_to_its_result(shell: Shell) -> None:
    job = shell.out("submit", "tests.add", "1", "y=2", "--tag", "shop", "--priority", "7")
    done = shell.json("wait", job)
    assert (done["id"], done["status"], done["result"], done["priority"]) == (job, "SUCCESS", 3, 7)
    assert shell.out("result", job) == "3"
    assert shell.json("status", job)["tags"] == ["shop"]
    assert [job["id"] for job in shell.json("list", "--tag", "shop", "--status", "success")] == [job]
    words = shell.out("status", job)
    assert all(part in words for part in (job, "tests.add", "SUCCESS"))
    assert shell.out("attempts", job).splitlines()[1].split()[:2] == ["1", "SUCCESS"]


def test_arguments_are_json_where_they_are_json(shell: Shell) -> None:
    given = ["submit", "tests.shapes", "1", "b=2", "--kwargs", '{"d": 5}', "x=6", "--held"]
    job = shell.json(*given)
    assert (job["args"], job["kwargs"], job["held"]) == ([1], {"d": 5, "b": 2, "x": 6}, True)
    texts = shell.json("submit", "tests.block", "/tmp/a=b", "--held")
    assert texts["args"] == ["/tmp/a=b"]


def test_a_submission_can_wait_for_the_end(shell: Shell) -> None:
    assert shell.json("submit", "tests.add", "x=1", "--wait")["result"] == 11
    failed = shell("submit", "tests.throw", "value", "--wait", exit=1)
    assert "task_error" in failed.stdout
    late = shell("submit", "tests.add", "1", "--countdown", "60", "--wait", "--timeout", "0.1", exit=4)
    assert "not ended in time" in late.stderr


def test_every_option_reaches_the_job(shell: Shell) -> None:
    options = {"queue": "other", "countdown": "30", "expires": "90", "max-retries": "2", "time-limit": "50"}
    words = [part for name, value in options.items() for part in (f"--{name}", value)]
    job = shell.json("submit", "tests.add", "1", *words, "--soft-time-limit", "40")
    found = job["queue"], job["max_retries"], job["soft_time_limit"], job["time_limit"]
    assert found == ("other", 2, 40, 50)
    assert job["created_at"] < job["due_at"] < job["expires_at"]
    eta = shell.json("submit", "tests.add", "1", "--eta", "2099-01-01T00:00:00Z", "--expires", "2099-01-02T00:00:00Z")
    assert (eta["due_at"], eta["expires_at"]) == ("2099-01-01T00:00:00.000Z", "2099-01-02T00:00:00.000Z")


def test_the_same_idempotency_key_is_the_same_job(shell: Shell) -> None:
    first, second = [shell.out("submit", "tests.add", "1", "--idempotency-key", "order-7") for _ in range(2)]
    assert first == second


def test_what_is_wrong_is_one_line_that_points_at_it(shell: Shell) -> None:
    wrong = shell("submit", "tests.add", "y=text", "x=1", exit=2)
    assert wrong.stdout == ""
    assert "/kwargs/y" in wrong.stderr
    assert "did you mean tests.add" in shell("submit", "tests.ad", exit=2).stderr
    assert "--kwargs takes a JSON object" in shell("submit", "tests.add", "--kwargs", "[1]", exit=2).stderr
    assert "Missing argument" in shell("submit", exit=2).stderr
    assert shell("status", NOBODY, exit=3).stderr.count("\n") == 1
    shell("list", "--status", "odd", exit=2)


def test_a_gateway_that_is_away_is_said_so(shell: Shell) -> None:
    away = shell("--url", "http://127.0.0.1:9", "stats", exit=6)
    assert "JOBGATE_URL says where to ask" in away.stderr
    assert "begins with http" in Shell({"JOBGATE_URL": "ftp://x"})("stats", exit=2).stderr


def test_jobs_are_held_released_cancelled_and_retried(shell: Shell) -> None:
    ids = [shell.out("submit", "tests.add", "1", "--countdown", "60") for _ in range(2)]
    assert shell.out("hold", *ids).splitlines() == [f"{each}: held" for each in ids]
    assert shell.out("release", *ids).splitlines() == [f"{each}: released" for each in ids]
    assert [job["held"] for job in shell.json("status", *ids)] == [False, False]
    partly = shell("cancel", *ids, NOBODY, exit=3)
    assert partly.stdout.splitlines() == [f"{each}: will not start" for each in ids]
    assert NOBODY in partly.stderr
    assert "already ended" in shell("cancel", ids[0], exit=5).stderr
    (again,) = shell.json("retry", ids[0])
    assert again["retry_of"] == ids[0]
    assert shell.json("wait", again["id"])["result"] == 11


def test_a_waiting_job_can_be_asked_why(shell: Shell) -> None:
    job = shell.out("submit", "tests.add", "1", "--held")
    first, remedy = shell.out("why", job).splitlines()[:2]
    assert first.startswith("* ")
    assert first.endswith("(held)")
    assert remedy.startswith("  ")
    assert shell.json("why", job)["reasons"][0]["code"] == "held"
    shell("why", NOBODY, exit=3)


def test_many_are_waited_for_at_once(shell: Shell) -> None:
    ids = [shell.out("submit", "tests.add", str(n)) for n in range(3)]
    assert [job["result"] for job in shell.json("wait", *ids)] == [10, 11, 12]
    bad = shell.out("submit", "tests.fatal")
    assert "FAILURE" in shell.out("wait", *ids, bad, exit=1)


def test_logs_are_followed_while_the_task_writes_them(shell: Shell, deployment: Deployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = shell.out("submit", "tests.report", str(gate))
    deployment.reaches(job, "STARTED")
    opener = threading.Timer(0.3, gate.touch)
    opener.start()
    followed = shell.out("logs", "-f", job)
    opener.join()
    assert [line.split()[-2:] for line in followed.splitlines()] == [["info", "begun"], ["warning", "done"]]
    assert shell.out("logs", job) == followed
    lines = [json.loads(line) for line in shell.out("logs", job, "--json").splitlines()]
    assert [line["seq"] for line in lines] == sorted(line["seq"] for line in lines)


def test_a_list_goes_over_pages_and_knows_its_end(shell: Shell, deployment: Deployment) -> None:
    ids = deployment.batch([{"task": "add", "args": [n], "tags": ["many"]} for n in range(205)])
    assert [job["id"] for job in shell.json("list", "--tag", "many", "--limit", "1000")] == ids[::-1]
    assert len(shell.json("list", "--tag", "many", "--limit", "3")) == 3
    assert shell("list", "--tag", "nothing").stderr == "none\n"


def test_what_there_is(shell: Shell) -> None:
    assert "tests.add" in shell.out("tasks")
    assert shell.json("tasks", "tests.add")["queue"] == "celery"
    assert "arguments" in shell.out("tasks", "tests.add")
    shell("tasks", "tests.nowhere", exit=3)
    assert {"urgent", "celery"} <= {queue["name"] for queue in shell.json("queues")["queues"]}
    assert shell.out("queues").splitlines()[0].split()[:2] == ["QUEUE", "PENDING"]
    assert shell.json("workers")["workers"][0]["slots"] == 4
    assert "gateway@" in shell.out("workers")
    assert shell.json("stats")["mode"] == "thread"
    assert "slots" in shell.out("stats")
