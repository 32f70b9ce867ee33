"""docs/python.md: its task, its client and its unit tests run as they are written there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import Context
from tests.support.processes import ROOT, Process, clean_environment, python

PAGE = (ROOT / "docs/python.md").read_text()
BLOCKS = {
    match[1]: match[2] for match in re.finditer(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with the files of the page."""
    for name, text in BLOCKS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    return clean_environment(
        PYTHONPATH=f"{ROOT}:{folder}",
        TASK_MODULES="shop.jobs",
        DATABASE_URL=f"sqlite:///{folder / 'jobs.db'}",
        PORT="0",
    )


@pytest.fixture
def gateway(environment: dict[str, str], folder: Path) -> Iterator[Process]:
    process = Process("gateway", python("-m", "gateway"), environment, folder)
    try:
        process.wait_for("Jobgate serves ")
        yield process
    finally:
        process.stop()


def run(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        python(*arguments), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("gateway")
def test_the_client_of_the_page_runs(folder: Path, environment: dict[str, str]) -> None:
    assert run(folder, environment, "client.py").splitlines() == [
        "{'order': 42, 'pages': 6}",
        "{'order': 43, 'pages': 6}",
    ]


def test_the_unit_tests_of_the_page_pass(folder: Path, environment: dict[str, str]) -> None:
    assert "3 passed" in run(folder, environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_jobs.py")


def test_the_page_has_the_members_of_the_context() -> None:
    members = {name for name in vars(Context) if not name.startswith("_")} - {"job", "stop", "request"}
    assert {name for name in members if f"`ctx.{name}" not in PAGE} == set()
