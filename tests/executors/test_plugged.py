"""Executors that packages bring."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from executors import assembly, plugged
from executors.settings import Settings
from tasks.errors import ConfigurationError
from tasks.job import State, Submission

POINTS = [
    EntryPoint(name="inline", value="tests.executors.inline:Inline", group=plugged.GROUP),
    EntryPoint(name="lost", value="tests.executors.nowhere:Inline", group=plugged.GROUP),
]


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugged, "entry_points", lambda group: [point for point in POINTS if point.group == group])


def settings(tmp_path: Path, name: str, **more: str) -> Settings:
    own = {"DATABASE_URL": f"sqlite:///{tmp_path}/jobs.db", "TASK_MODULES": "tests.gateway.support"}
    return Settings.from_env({**own, "JOBGATE_EXECUTOR": name, **more})


async def test_the_executor_of_a_package_carries_the_jobs(tmp_path: Path) -> None:
    async with assembly.gateway(settings(tmp_path, "inline")) as control:
        job = await control.submit(Submission(task="tests.read", kwargs={"path": "a.txt"}))
        done = await control.wait(job.id, 20)
        assert (done.status, done.result) == (State.SUCCESS, '"a.txt"')
        assert (await control.health()).detail == "inline"


@pytest.mark.parametrize(("name", "words"), [("other", "those brought: inline, lost"), ("lost", "cannot be loaded")])
async def test_one_that_is_not_there_is_said_at_start(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        async with assembly.gateway(settings(tmp_path, name)):
            pass


def test_it_stands_in_the_place_of_threads_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="leave USE_CELERY out"):
        settings(tmp_path, "inline", USE_CELERY="1")
