"""Commands that become a process of the product, and are replaced by it: signals and exit codes are its own."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Never

import typer

#: What comes after the command goes to Celery as it is.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def serve() -> None:
    """Start the gateway: HTTP, and in thread mode the jobs."""
    _become("gateway")


def worker(
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[CELERY OPTION]...", help="Options of `celery worker`.")
    ] = None,
) -> None:
    """Start a Celery worker."""
    _become("executors.celery_worker", *(options or []))


def scheduler() -> None:
    """Start the scheduler, which keeps jobs moving where no gateway runs."""
    _become("executors.scheduler")


def _become(module: str, *arguments: str) -> Never:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own module, no shell wanted
