"""Commands that steer jobs, named one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from gateway.cli import output
from gateway.cli.door import address
from gateway.cli.exits import CommandError
from gateway.cli.options import AsJson, JobIds, door

_CANCELLED = {"revoked": "will not start", "asked": "runs, and was told to stop"}


def cancel(context: typer.Context, ids: JobIds, json_: AsJson = False) -> None:
    """Stop jobs: a waiting one never starts, a running one is told to stop."""
    _steer(context, ids, "cancel", lambda done: _CANCELLED[done["action"]], json_)


def retry(context: typer.Context, ids: JobIds, json_: AsJson = False) -> None:
    """Run ended jobs again, as new jobs; prints the new ids."""
    _steer(context, ids, "retry", lambda job: f"again as {job['id']}", json_)


def hold(context: typer.Context, ids: JobIds, json_: AsJson = False) -> None:
    """Keep waiting jobs from starting."""
    _steer(context, ids, "hold", lambda job: "held", json_)


def release(context: typer.Context, ids: JobIds, json_: AsJson = False) -> None:
    """Let held jobs start."""
    _steer(context, ids, "release", lambda job: "released", json_)


def _steer(context: typer.Context, ids: Sequence[str], verb: str, words: Callable[[Any], str], json_: bool) -> None:
    """One verb for each job. All are tried; the first trouble decides the exit code."""
    here = door(context)
    answers: list[Any] = []
    troubles: list[CommandError] = []
    for each in ids:
        try:
            answers.append(here.post(address("jobs", each, verb)))
        except CommandError as error:
            troubles.append(error)
            output.note(f"{each}: {error.words}")
            continue
        if not json_:
            output.say(f"{each}: {words(answers[-1])}")
    if json_:
        output.as_json(answers)
    if troubles:
        raise typer.Exit(troubles[0].exit)
