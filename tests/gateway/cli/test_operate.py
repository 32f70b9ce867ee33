"""Commands of those who operate: queues, bulk actions, the audit trail, what `celery inspect` shows."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from gateway.cli import output
from tests.gateway.cli.conftest import Shell
from tests.support.deployment import Deployment


@pytest.fixture
def tag() -> str:
    return f"bulk-{uuid.uuid4().hex[:8]}"


def waiting(deployment: Deployment, count: int, tag: str, queue: str = "celery") -> list[str]:
    """Jobs that are not due for long."""
    job = {"task": "add", "args": [1], "tags": [tag], "countdown": 600, "queue": queue}
    return deployment.batch([job] * count)


def test_a_bulk_action_is_counted_asked_about_and_done(shell: Shell, deployment: Deployment, tag: str) -> None:
    ids = waiting(deployment, 5, tag)
    counted = shell("cancel", "--tag", tag, "--dry-run").stdout.splitlines()
    assert counted[0] == "cancel: 5 jobs fit; nothing was done"
    assert {line.strip() for line in counted[1:]} <= set(ids)
    assert "say --yes" in shell("cancel", "--tag", tag, exit=2).stderr
    assert shell.json("status", ids[0])["status"] == "PENDING"
    done = shell.json("cancel", "--tag", tag, "--yes")
    assert (done["state"], done["done"]) == ("done", 5)
    assert shell.out("cancel", "--tag", tag, "--yes").startswith("cancel: 0 jobs fit")
    assert shell.out("retry", "--tag", tag, "--status", "revoked", "--yes").startswith("retry: 5 of 5 jobs")
    assert "retry" in shell.out("bulk")
    assert shell.json("bulk", done["id"])["count"] == 5
    deleted = shell.out("delete", "--tag", tag, "--status", "REVOKED", "--yes")
    assert deleted.startswith("delete: 5 of 5")
    shell("status", ids[0], exit=3)


def test_who_is_asked_can_say_no(
    shell: Shell, deployment: Deployment, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = waiting(deployment, 1, tag)
    monkeypatch.setattr(output, "asks", lambda: True)
    shell("hold", "--tag", tag, input="n\n", exit=1)
    assert shell.json("status", job)["held"] is False
    shell("hold", "--tag", tag, input="y\n")
    assert shell.json("status", job)["held"] is True
    shell("release", "--tag", tag, "-y")
    assert shell.json("status", job)["held"] is False


def test_ids_and_filters_exclude_each_other(shell: Shell, tag: str) -> None:
    assert "not both" in shell("cancel", exit=2).stderr
    assert "not both" in shell("cancel", "x", "--tag", tag, exit=2).stderr
    assert "--dry-run is for a filter" in shell("cancel", "x", "--dry-run", exit=2).stderr


def test_queues_are_paused_purged_and_moved(shell: Shell, deployment: Deployment, tag: str) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert shell.out("queues", "pause", "other", "--until", until, "--reason", "works").startswith(
        "other is paused until"
    )
    row = next(line for line in shell.out("queues").splitlines() if line.startswith("other"))
    assert "until" in row
    assert shell.json("queues", "resume", "other") == {"name": "other", "paused": None}
    shell("queues", "pause", "nowhere", exit=2)
    jobs = waiting(deployment, 3, tag, "other")
    assert shell.out("queues", "move", "other", "normal", "--yes").startswith("move: 3 of 3")
    assert {shell.json("status", job)["queue"] for job in jobs} == {"normal"}
    assert shell.json("queues", "purge", "normal", "--dry-run")["count"] == 3
    assert shell.json("queues", "purge", "normal", "--yes")["done"] == 3
    assert shell.json("status", jobs[0])["status"] == "REVOKED"


def test_purge_and_inspect_by_the_words_of_the_old_stack(shell: Shell, deployment: Deployment, tag: str) -> None:
    jobs = waiting(deployment, 2, tag)
    assert set(jobs) <= {job["id"] for job in shell.json("stack", "inspect", "scheduled")}
    assert jobs[0] in shell.out("stack", "inspect", "reserved")
    with deployment.busy(1):
        assert [job["task"] for job in shell.json("stack", "inspect", "active")] == ["tests.block"]
    assert "gateway@" in shell.out("stack", "inspect", "stats")
    assert "tests.add" in shell.out("stack", "inspect", "registered")
    assert "celery" in shell.out("stack", "inspect", "active_queues")
    assert "inspect shows" in shell("stack", "inspect", "odd", exit=2).stderr
    assert shell.json("stack", "purge", "celery", "--dry-run")["count"] >= 2
    assert shell.json("stack", "purge", "--yes")["done"] >= 2
    assert shell.json("stack", "inspect", "scheduled") == []


def test_workers_are_told_what_to_do_and_say_what_came_of_it(shell: Shell) -> None:
    name = shell.json("workers")["workers"][0]["name"]
    assert "done" in shell.out("workers", "grow", name, "-n", "2")
    assert shell.json("workers")["workers"][0]["slots"] == 6
    assert shell.json("workers", "shrink", name, "-n", "2")["commands"][0]["state"] == "done"
    assert "done" in shell.out("workers", "leave", name, "other")
    assert "other" not in shell.json("workers")["workers"][0]["queues"]
    assert "does not serve it" in shell.out("workers", "leave", name, "other", exit=1)
    shell("workers", "consume", name, "other")
    shell("workers", "shutdown", name, exit=2)
    shell("workers", "grow", "celery@nowhere", exit=3)
    assert [each["verb"] for each in shell.json("workers", "commands")["commands"][:2]] == ["consume", "leave"]


def test_limits_are_set_and_given_back(shell: Shell) -> None:
    assert shell.json("limits", "tests.add")["overridden"] is False
    found = shell.json("limits", "tests.add", "--rate", "10/m", "--concurrency", "2")
    assert (round(found["starts_per_second"] * 60), found["concurrency"], found["overridden"]) == (10, 2, True)
    assert "/rate_limit" in shell("limits", "tests.add", "--rate", "often", exit=2).stderr
    assert shell.json("limits", "tests.add", "--reset")["concurrency"] is None
    shell("limits", "tests.nowhere", exit=3)


def test_every_change_is_in_the_trail(shell: Shell) -> None:
    shell("queues", "pause", "other")
    shell("queues", "resume", "other")
    entries = shell.json("audit", "--who", "loopback", "--limit", "2")["entries"]
    assert [entry["action"] for entry in entries] == ["resumeQueue", "pauseQueue"]
    assert "/api/v1/queues/other/resume" in shell.out("audit", "--action", "resumeQueue")
