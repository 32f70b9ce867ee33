"""What `celery inspect` and `celery purge` show and do, from the record: the same in both modes, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import jobs, output, overview
from gateway.cli.exits import CommandError, Exit
from gateway.cli.options import AsJson, door

#: What is shown of which jobs; the words are those of `celery inspect`.
_STATES = {"active": ["STARTED"], "scheduled": ["PENDING", "RETRY"], "reserved": ["PENDING", "RETRY"]}
_WHOLE = {"stats": overview.workers, "registered": overview.tasks, "active_queues": overview.queues}
LIMIT = 1000


def inspect(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help=f"{', '.join([*_STATES, *_WHOLE])}.")] = "active",
    json_: AsJson = False,
) -> None:
    """Show what runs, what waits, or who works."""
    if what in _WHOLE:
        context.invoke(_WHOLE[what], context=context, json_=json_)
        return
    if what not in _STATES:
        raise CommandError(Exit.USAGE, f"inspect shows {', '.join([*_STATES, *_WHOLE])}; got {what!r}")
    found = jobs.list_jobs(door(context), {"status": _STATES[what]}, LIMIT)
    if json_:
        output.as_json(found)
    else:
        jobs.show_jobs(found)
