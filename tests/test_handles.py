"""Handles and tasks for programs that were written for Celery, and in processes that were forked."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tasks.errors import ConfigurationError, InvalidSubmission
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
    environment = clean_environment(
        DATABASE_URL=f"sqlite:///{tmp_path / 'jobs.db'}", TASK_MODULES="tests.support.tasks", PYTHONPATH=str(ROOT)
    )
    done = subprocess.run(
        python("-c", _FORKED), cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("ConfigurationError connected in process")
    assert "Call executors.client.connect() in each process" in first
    assert (second, done.returncode) == ("PENDING", 0), done.stderr
