"""Every command that the operations page gives to those who come from another system does something here."""

from __future__ import annotations

import os
import sys

import pytest

from tests.gateway.cli.conftest import Shell
from tests.gateway.cli.mapping import commands, of_a_stack
from tests.support.deployment import Deployment

PROCESSES = {"serve": "gateway", "worker": "executors.celery_worker", "scheduler": "executors.scheduler"}


def test_what_shows_or_steers_runs(shell: Shell, deployment: Deployment) -> None:
    ended = deployment.run("add", 1)["id"]
    run = [command for command in commands() if command[0] not in PROCESSES and not of_a_stack(command)]
    assert len(run) > 15
    shell.environment["TASK_MODULES"] = "tests.support.tasks,tasks.packs.demo"
    for command in run:
        # A new one for each: among the commands is a purge.
        waiting = deployment.submit("add", 1, countdown=600)["id"]
        ids = {"ID": ended, "WAITING": waiting, "NAME": "nightly"}
        shell(*(ids.get(word, word) for word in command))


def test_what_becomes_a_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, _environment: started.append(command))
    run = [command for command in commands() if command[0] in PROCESSES]
    for command in run:
        Shell({"TASK_MODULES": "tasks.packs.demo"})(*command)
    passed_on = [[each for each in command if each not in {"--require", "demo.add"}] for command in run]
    assert started == [[sys.executable, "-m", PROCESSES[name], *options] for name, *options in passed_on]
