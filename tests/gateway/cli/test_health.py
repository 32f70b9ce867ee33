"""Looking before a start, and at what runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.gateway.cli.conftest import Shell
from tests.support.deployment import Deployment

TASKS = {"TASK_MODULES": "tests.support.tasks"}
NOWHERE = {"USE_CELERY": "1", "CELERY_BROKER_URL": "redis://:secret@127.0.0.1:9/0"}


def test_a_start_is_checked(redis_url: str) -> None:
    assert [each["what"] for each in Shell(TASKS).json("check", "tests.add")] == ["tasks", "tests.add"]
    seen = Shell({**TASKS, "USE_CELERY": "1", "CELERY_BROKER_URL": redis_url}).json("check")
    assert [(each["what"], each["ok"]) for each in seen] == [("tasks", True), ("broker", True)]
    missing = Shell({**TASKS, **NOWHERE})("check", "tests.ad", exit=1).stdout
    assert "did you mean tests.add" in missing
    assert "redis://127.0.0.1:9/0 does not answer" in missing
    assert "secret" not in missing
    (tasks,) = Shell({"TASK_MODULES": "no.such.module"}).json("check", exit=1)
    assert "cannot import 'no.such.module'" in tasks["detail"]


def test_a_worker_can_be_made_to_look_first(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, _environment: started.append(command[2:]))
    words = ["worker", "--require", "tests.add", "--hostname=w1@%h"]
    away = Shell({**TASKS, **NOWHERE})(*words, exit=1)
    assert away.stderr.startswith("jobgate: broker: ")
    assert started == []
    Shell({**TASKS, "USE_CELERY": "1", "CELERY_BROKER_URL": redis_url})(*words)
    assert started == [["executors.celery_worker", "--hostname=w1@%h"]]


def test_the_doctor_looks_for_itself_or_asks_the_gateway(shell: Shell, deployment: Deployment, tmp_path: Path) -> None:
    asked = shell.json("doctor", exit=0)
    assert asked["status"] in {"well", "note"}
    here = Shell({**TASKS, **NOWHERE, "DATABASE_URL": f"sqlite:///{tmp_path / 'jobs.db'}"})
    seen = here("doctor", exit=2)
    assert "(broker_away)" in seen.stdout
    assert "secret" not in seen.output
    assert "broker_away" in {finding["code"] for finding in here.json("doctor", exit=2)["findings"]}
