"""Real processes under a few faults, switched between threads and Celery. `make chaos` makes hundreds of them."""

from __future__ import annotations

import subprocess

from tests.support.processes import ROOT, clean_environment, python


def test_nothing_is_lost_doubled_or_told_wrongly() -> None:
    """A program of its own: clients, proxies and servers that are killed leave a mess behind."""
    asked = {"JOBS": "120", "FAULTS": "6", "SEED": "2817", "BROKER": "redis", "STORE": "postgresql", "MODE": "switch"}
    command, environ = python("-m", "tests.chaos"), clean_environment(**asked)
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "120 jobs accepted, 6 faults of 6 kinds" in done.stdout
