"""The command line in a user's folder: modules of tasks are found there, and nothing there stands in for a package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, clean_environment

PLANTED = 'raise SystemExit("a file of the working folder was run")\n'
TASKS = """
from tasks import task

@task(name="shop.double")
def double(n: int) -> int:
    return 2 * n
"""


@pytest.fixture
def jobgate(tmp_path: Path) -> Path:
    """The launcher as `make` installs it, in a checkout that is this one."""
    checkout = tmp_path / "checkout"
    (checkout / ".venv/bin").mkdir(parents=True)
    for name in ("executors", "gateway", "metrics", "tasks"):
        (checkout / name).symlink_to(ROOT / name)
    (checkout / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (checkout / ".venv/bin/python").chmod(0o755)
    return Path(shutil.copy(ROOT / "deploy/jobgate", checkout / ".venv/bin/jobgate"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop/jobs.py").write_text(TASKS)
    (folder / "tasks.py").write_text(TASKS)
    for package in ("typer", "rich", "msgspec", "sqlalchemy", "celery"):
        (folder / f"{package}.py").write_text(PLANTED)
    return folder


def run(jobgate: Path, folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(**settings)
    return subprocess.run(
        [jobgate, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_task_module_of_the_folder_is_found_and_no_planted_package_is(jobgate: Path, folder: Path) -> None:
    done = run(jobgate, folder, "check", "shop.double", TASK_MODULES="shop.jobs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 tasks are registered, from shop.jobs" in done.stdout


def test_a_client_command_imports_nothing_of_the_folder(jobgate: Path, folder: Path) -> None:
    (folder / "shop/jobs.py").write_text(PLANTED)
    done = run(jobgate, folder, "list", TASK_MODULES="shop.jobs", JOBGATE_URL="http://127.0.0.1:9")
    assert "no answer from http://127.0.0.1:9" in done.stderr


def test_a_tasks_py_that_the_product_hides_is_refused(jobgate: Path, folder: Path) -> None:
    done = run(jobgate, folder, "serve", TASK_MODULES="tasks", DATABASE_URL="sqlite:///jobs.db")
    assert done.returncode == 2
    assert "'tasks' is Jobgate's own package" in done.stderr
    assert "TASK_MODULES=shop.tasks" in done.stderr


def test_a_module_that_is_not_found_says_where_it_was_looked_for(jobgate: Path, folder: Path) -> None:
    done = run(jobgate, folder, "check", TASK_MODULES="store.jobs")
    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    assert "No module named 'store'" in words
    assert "Start in the folder that holds it" in words
