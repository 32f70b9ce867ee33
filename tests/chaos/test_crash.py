"""A process is killed at a statement of a job's way, and started again. `make crash` cuts at every one of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT, clean_environment, python


def _cut(*given: str) -> None:
    command = python("-m", "tests.chaos.crash", *given)
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


# What was answered stands; what was not may be sent again; the job ends, and ends once, within a second of the boot.


def test_a_gateway_that_runs_jobs_in_threads(tmp_path: Path) -> None:
    _cut("--store", f"sqlite:///{tmp_path}/jobs.db", "--stride", "3")


def test_the_same_on_postgresql(postgres_url: str) -> None:
    _cut("--store", postgres_url, "--stride", "6")


# From the eighth point on rings have been committed that were never published.
@pytest.mark.parametrize(("victim", "stride"), [("gateway", 7), ("worker", 12)])
def test_a_gateway_and_a_worker_of_celery(tmp_path: Path, redis_url: str, victim: str, stride: int) -> None:
    given = ["--broker", redis_url, "--victim", victim, "--stride", str(stride)]
    _cut("--store", f"sqlite:///{tmp_path}/jobs.db", *given)
