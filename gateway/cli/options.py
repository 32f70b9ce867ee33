"""Options that several commands take, each with one name and one meaning."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import completion
from gateway.cli.door import Door

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID...", help="Job ids.", autocompletion=completion.jobs)]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id.", autocompletion=completion.jobs)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Status = Annotated[
    list[str] | None, typer.Option(help="PENDING, STARTED, RETRY, SUCCESS, FAILURE or REVOKED; may be repeated.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def door(context: typer.Context) -> Door:
    """The gateway that this command line was pointed at, until the command ends."""
    opened = Door(context.find_root().obj)
    context.call_on_close(opened.close)
    return opened
