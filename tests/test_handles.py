"""Handles and tasks for programs that were written for Celery, and in processes that were forked."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from executors.client import connect
from executors.settings import Settings
from tasks.errors import ConfigurationError, InvalidSubmission
from tasks.store.backend import parse_url
from tasks.store.migrate import migrate
from tasks.task import CELERY_ONLY
from tests.support.processes import ROOT, clean_environment, python
from tests.support.tasks import add


@pytest.mark.parametrize("option", CELERY_ONLY)
def test_an_option_that_only_celery_has_is_refused_with_what_to_do(option: str) -> None:
    with pytest.raises(InvalidSubmission) as refusal:
        add.submission((1, 2), **{option: "x"})
    assert refusal.value.pointer == f"/{option}"
    assert CELERY_ONLY[option] in refusal.value.detail


@pytest.mark.parametrize("canvas", ["s", "si"])
def test_there_is_no_canvas_and_the_error_says_what_to_do(canvas: str) -> None:
    with pytest.raises(ConfigurationError, match="submit the next job from the body"):
        getattr(add, canvas)(1, 2)


@pytest.mark.parametrize(
    ("eta", "text"),
    [
        (datetime(2030, 1, 31, 9), "2030-01-31T09:00:00+00:00"),  # noqa: DTZ001 - without a zone is the case in point
        (datetime(2030, 1, 31, 9, tzinfo=UTC), "2030-01-31T09:00:00+00:00"),
        (datetime(2030, 1, 31, 9, tzinfo=timezone(timedelta(hours=8))), "2030-01-31T09:00:00+08:00"),
        ("2030-01-31T09:00:00Z", "2030-01-31T09:00:00Z"),
    ],
)
@pytest.mark.parametrize("name", ["eta", "expires"])
def test_a_moment_without_a_time_zone_is_in_utc_as_in_celery(name: str, eta: object, text: str) -> None:
    assert getattr(add.submission((1, 2), **{name: eta}), name) == text


_FORKED = """
import os, sys
from executors.client import connect
from tests.support.tasks import add
connection = connect()
add.delay(1, 2)
if os.fork() == 0:
    try:
        add.delay(1, 2)
    except Exception as error:
        print(type(error).__name__, error)
    with connect():
        print(add.delay(1, 2).status)
    sys.exit()
os.wait()
connection.close()
"""


def test_a_forked_process_is_told_to_connect_and_can(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    asyncio.run(migrate(parse_url(url)))
    environment = clean_environment(DATABASE_URL=url, TASK_MODULES="tests.support.tasks", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        python("-c", _FORKED), cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("ConfigurationError connected in process")
    assert "Call executors.client.connect() in each process" in first
    assert (second, done.returncode) == ("PENDING", 0), done.stderr


_RAISING = """
from contextlib import suppress
from executors.client import connect
from tasks.errors import WaitTimeout
from tests.support.tasks import add
with connect():
    with suppress(WaitTimeout):
        add.delay(1, 2).get(timeout=0.2)
    raise ValueError("of the program")
"""


def test_a_program_that_raises_while_connected_shows_its_own_error_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    asyncio.run(migrate(parse_url(url)))
    environment = clean_environment(DATABASE_URL=url, TASK_MODULES="tests.support.tasks", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        python("-c", _RAISING), cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "ValueError: of the program"
    assert "Task was destroyed" not in done.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///var/jobgate.db", "there is no database at {folder}/var/jobgate.db"),
        ("sqlite:///{folder}/jobs.db", "there is no database at {folder}/jobs.db"),
        ("sqlite:///{folder}/no/such/folder/jobs.db", "there is no database at {folder}/no/such/folder/jobs.db"),
        ("sqlite:///empty.db", "the database has schema none"),
    ],
)
def test_a_client_refuses_a_database_that_is_not_there_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.db").touch()
    with pytest.raises(ConfigurationError) as refusal:
        connect(Settings(database_url=url.format(folder=tmp_path), task_modules=("tests.support.tasks",)))
    assert words.format(folder=tmp_path) in refusal.value.detail
    assert "jobgate db upgrade" in refusal.value.detail
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]
    assert "jobgate-client" not in {thread.name for thread in threading.enumerate()}
