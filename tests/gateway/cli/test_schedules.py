"""Commands about schedules."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from gateway.cli import schedules
from tests.gateway.cli.conftest import Shell


def test_a_schedule_is_made_changed_paused_and_deleted(shell: Shell) -> None:
    made = shell.json(
        "schedules", "add", "nightly", "tests.add", "1", "y=2", "--cron", "30 2 * * mon-fri",
        "--timezone", "Asia/Shanghai", "--queue", "other", "--overlap", "skip", "--set", "catch_up=60",
    )  # fmt: skip
    assert (made["args"], made["kwargs"], made["catch_up"], made["overlap"]) == ([1], {"y": 2}, 60, "skip")
    assert "30 2 * * mon-fri" in shell.out("schedules")
    assert shell.json("schedules")["schedules"][0]["name"] == "nightly"
    assert "Asia/Shanghai" in shell.out("schedules", "show", "nightly")
    local = [fire["local"] for fire in shell.json("schedules", "preview", "nightly", "-n", "3")["fire_times"]]
    assert len(local) == 3
    assert "02:30" in shell.out("schedules", "preview", "nightly")
    assert shell.json("schedules", "change", "nightly", "--cron", "0 3 * * *")["cron"] == "0 3 * * *"
    assert shell.json("schedules", "pause", "nightly")["enabled"] is False
    assert "paused (operator)" in shell.out("schedules")
    assert shell.json("schedules", "resume", "nightly")["enabled"] is True
    job = shell.out("schedules", "run", "nightly")
    assert shell.json("wait", job)["result"] == 3
    assert job in shell.out("schedules", "fires", "nightly")
    shell("schedules", "delete", "nightly", exit=2)
    assert shell.out("schedules", "delete", "nightly", "--yes") == "nightly is deleted"
    shell("schedules", "show", "nightly", exit=3)


def test_all_of_them_are_listed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"first", "second", "third"}
    for name in names:
        shell("schedules", "add", name, "tests.add", "1", "--cron", "0 0 1 1 *")
    monkeypatch.setattr(schedules, "PAGE", 1)
    found = shell.json("schedules")
    assert {each["name"] for each in found["schedules"]} >= names
    assert found["next_page_token"] == ""
    assert all(name in shell.out("schedules") for name in names)


def test_schedules_are_brought_over_by_the_importer(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, _environment: started.append(command[1:]))
    Shell({})("schedules", "import", "beat", "shop.celery:app")
    assert started == [["-m", "executors.celery_import", "beat", "shop.celery:app"]]


def test_past_fire_times_are_made_up_for(shell: Shell) -> None:
    shell("schedules", "add", "hourly", "tests.add", "1", "--cron", "0 * * * *")
    end = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(hours=1)
    words = ["schedules", "backfill", "hourly", (end - timedelta(hours=3)).isoformat(), end.isoformat()]
    assert shell.out(*words, "--dry-run").startswith("3 jobs would be made")
    assert shell.json(*words)["count"] == 3
    assert shell.out(*words) == "0 jobs were made; 3 fire times had been decided before"


def test_a_wrong_schedule_is_refused_with_the_reason(shell: Shell) -> None:
    wrong = shell("schedules", "add", "odd", "tests.add", "1", "--cron", "99 * * * *", exit=2)
    assert wrong.stderr.startswith("jobgate: ")
    shell("schedules", "pause", "nobody", exit=3)
