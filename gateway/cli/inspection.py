"""What `celery inspect` shows, from the record: the same in both modes, at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from gateway.cli import jobs, output, overview, queues, workers
from gateway.cli.exits import CommandError, Exit
from gateway.cli.options import AsJson, door

#: What is shown of which jobs; the words are those of `celery inspect`.
WAITING = ["PENDING", "RETRY"]
_STATES = {"active": ["STARTED"], "scheduled": WAITING, "reserved": WAITING}
_WHOLE: dict[str, Callable[[typer.Context, bool], None]] = {
    "stats": workers.show,
    "registered": lambda context, json_: overview.tasks(context, None, json_),
    "active_queues": queues.show,
}
LIMIT = 1000


def inspect(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help=f"{', '.join([*_STATES, *_WHOLE])}.")] = "active",
    json_: AsJson = False,
) -> None:
    """Show what runs, what waits, or who works."""
    if what in _WHOLE:
        _WHOLE[what](context, json_)
        return
    if what not in _STATES:
        raise CommandError(Exit.USAGE, f"inspect shows {', '.join([*_STATES, *_WHOLE])}; got {what!r}")
    found = jobs.list_jobs(door(context), {"status": _STATES[what]}, LIMIT)
    if json_:
        output.as_json(found)
    else:
        jobs.show_jobs(found)
