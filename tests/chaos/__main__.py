"""`make chaos`: real processes under faults, and what the record, the ledger and the clients say afterwards.

KEEP=FILE keeps the outcomes there, beside those that it has already, and shows them all; LOGS=FOLDER keeps what the
processes wrote.
"""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.chaos import options, plain, report
from tests.chaos.faults import left_out
from tests.chaos.run import run
from tests.support.processes import ROOT

_PACKAGES = ("celery", "kombu", "redis", "sqlalchemy", "asyncpg", "starlette", "uvicorn")


def surroundings() -> str:
    """One line on what this ran on."""
    head = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"{os.cpu_count()} cores; Python {platform.python_version()}; {packages}; commit {commit or 'unknown'}"


def main() -> int:
    logging.disable(logging.CRITICAL)  # ours: the processes under test have logs of their own
    runs, kept = options.read(os.environ), Path(os.environ.get("KEEP", os.devnull))
    print(surroundings(), flush=True)
    if words := left_out():
        print(words, flush=True)
    outcomes = report.load(kept) if kept.is_file() else []
    clean = True
    for asked in runs:
        outcome = plain.run(asked) if asked.mode == "plain" else run(asked)
        print("\n".join(report.show(outcome)), flush=True)
        report.keep(kept, outcome)
        outcomes.append(outcome)
        if asked.mode != "plain":  # what it loses is no fault of ours
            clean = clean and outcome.verdict.clean and not outcome.wrong
    print("\n".join(["", *report.table(outcomes), "", report.totals(outcomes)]))
    print("all kept" if clean else "NOT KEPT")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
