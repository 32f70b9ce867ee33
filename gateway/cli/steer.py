"""Commands that steer jobs: those that are named, or all of a filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from gateway.cli import bulk, completion, output
from gateway.cli.bulk import Before, Queues, Tag, Tasks
from gateway.cli.door import Door, address
from gateway.cli.exits import CommandError, Exit
from gateway.cli.options import AsJson, DryRun, Status, Yes, door

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Job ids; none, with a filter.", autocompletion=completion.jobs),
]

_CANCELLED = {"revoked": "will not start", "asked": "runs, and was told to stop"}
_DONE: dict[str, Callable[[Any], str]] = {
    "cancel": lambda done: _CANCELLED[done["action"]],
    "retry": lambda job: f"again as {job['id']}",
    "hold": lambda job: "held",
    "release": lambda job: "released",
}


def steering(verb: str, words: str) -> Callable[..., None]:
    """The command for one verb of `POST /api/v1/jobs/{id}/…` and of bulk actions."""

    def command(
        context: typer.Context,
        ids: Ids = None,
        status: Status = None,
        task: Tasks = None,
        queue: Queues = None,
        tag: Tag = None,
        created_before: Before = None,
        dry_run: DryRun = False,
        yes: Yes = False,
        json_: AsJson = False,
    ) -> None:
        wanted = bulk.job_filter(status, task, queue, tag, created_before)
        if bool(ids) == bool(wanted):
            raise CommandError(Exit.USAGE, f"{verb} takes job ids, or a filter such as --tag; not both, not neither")
        if ids and dry_run:
            raise CommandError(Exit.USAGE, "--dry-run is for a filter: jobs that are named need no counting")
        here = door(context)
        if ids:
            _each(here, ids, verb, json_)
        else:
            body = {"action": verb, "filter": wanted}
            bulk.run(here, address("bulk"), body, dry_run=dry_run, yes=yes, json_=json_)

    command.__doc__ = words
    command.__name__ = verb
    return command


cancel = steering("cancel", "Stop jobs: a waiting one never starts, a running one is told to stop.")
retry = steering("retry", "Run ended jobs again, as new jobs.")
hold = steering("hold", "Keep waiting jobs from starting.")
release = steering("release", "Let held jobs start.")


def _each(here: Door, ids: Sequence[str], verb: str, json_: bool) -> None:
    """One verb for each job. All are tried; the first trouble decides the exit code."""
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
            output.say(f"{each}: {_DONE[verb](answers[-1])}")
    if json_:
        output.as_json(answers)
    if troubles:
        raise typer.Exit(troubles[0].exit)
