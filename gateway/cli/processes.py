"""Commands that become a process of the product, and are replaced by it: signals and exit codes are its own."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Never

import typer

from gateway.cli import health, local_stack, output

#: What comes after the command goes to Celery as it is.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


#: Celery's levels that LOG_LEVEL does not have.
_LEVELS = {"CRITICAL": "ERROR", "FATAL": "ERROR", "WARN": "WARNING"}


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


def scheduler(
    loglevel: Annotated[str | None, typer.Option("--loglevel", "-l", help="In the place of LOG_LEVEL.")] = None,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[CELERY OPTION]...", help="Options of `celery beat`, without effect.")
    ] = None,
) -> None:
    """Start the scheduler, which keeps jobs moving where no gateway runs."""
    level = {} if loglevel is None else {"LOG_LEVEL": _LEVELS.get(loglevel.upper(), loglevel.upper())}
    if options:
        output.note(
            f"jobgate: scheduler: {' '.join(options)} has no effect: schedules are kept in the database, and whoever "
            "starts this process keeps its pid and its log"
        )
    become("executors.scheduler", **level)


def become(module: str, *arguments: str, **settings: str) -> Never:
    """Run a module of ours in the place of this command, on the broker of a stack that runs here.

    `settings` are variables that stand before those of the environment.
    """
    sys.stdout.flush()
    command = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, command, {**local_stack.environment(), **settings})  # noqa: S606 - our own module, no shell wanted
