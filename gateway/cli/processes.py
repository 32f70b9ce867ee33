"""Commands that become a process of the product, and are replaced by it: signals and exit codes are its own."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Never

import typer

from gateway.cli import health, local_stack

#: What comes after the command goes to Celery as it is.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def serve() -> None:
    """Start the gateway: HTTP, and in thread mode the jobs."""
    become("gateway")


def worker(
    required: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="TASK", help="Look first: this task must be there, and the broker answer."),
    ] = None,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[CELERY OPTION]...", help="Options of `celery worker`.")
    ] = None,
) -> None:
    """Start a Celery worker."""
    if required:
        health.require(required)
    become("executors.celery_worker", *(options or []))


def scheduler() -> None:
    """Start the scheduler, which keeps jobs moving where no gateway runs."""
    become("executors.scheduler")


def become(module: str, *arguments: str) -> Never:
    """Run a module of ours in the place of this command, on the broker of a stack that runs here."""
    sys.stdout.flush()
    command = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, command, local_stack.environment())  # noqa: S606 - our own module, no shell wanted
