"""The ledger under fire, in short: real workers are killed, wishes come up to three times. `make ledger` is long."""

from __future__ import annotations

import subprocess

from tests.support.processes import ROOT, clean_environment, python


def test_the_ledger_balances_to_the_cent() -> None:
    """A program of its own: servers and workers that are killed leave a mess behind."""
    asked = {"OPERATIONS": "120", "KILLS": "2", "SEED": "7", "MODE": "celery"}
    command, environ = python("-m", "tests.chaos.ledger"), clean_environment(**asked)
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "120 operations" in done.stdout
    assert "kills: none" not in done.stdout
    assert "balances to the cent" in done.stdout
