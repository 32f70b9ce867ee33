from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from tests.support.deployment import Deployment, Shape
from tests.support.processes import clean_environment


class Shell:
    """Types commands, as a user of `deployment` would, without a process for each."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *words: str, exit: int = 0, input: str | None = None) -> Result:
        """The command's result; its exit code must be `exit`."""
        done = CliRunner(env=self.environment).invoke(app, words, input=input)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == exit, f"{words}: {done.exit_code}\n{done.output}"
        return done

    def out(self, *words: str, exit: int = 0) -> str:
        return self(*words, exit=exit).stdout.rstrip("\n")

    def json(self, *words: str, exit: int = 0) -> Any:
        return json.loads(self(*words, "--json", exit=exit).stdout)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests are not those of the commands."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One gateway in thread mode for a file of tests."""
    folder = tmp_path_factory.mktemp("cli")
    shape = Shape(database_url=f"sqlite:///{folder / 'jobs.db'}", gateway_modules="tasks.packs.demo")
    started = Deployment(shape, folder)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def shell(deployment: Deployment) -> Shell:
    return Shell({"JOBGATE_URL": str(deployment.client.base_url), "NO_COLOR": "1"})
