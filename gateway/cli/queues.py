"""Commands about queues: what waits in them, pausing, emptying, moving."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli import bulk, completion, output
from gateway.cli.door import address
from gateway.cli.options import AsJson, DryRun, Yes, door

app = typer.Typer(name="queues", help="List the queues, or steer one.", invoke_without_command=True)

Name = Annotated[str, typer.Argument(help="The queue.", autocompletion=completion.queues)]


@app.callback()
def list_(context: typer.Context, json_: AsJson = False) -> None:
    """List the queues: what waits, how long, who serves them; or steer one."""
    if context.invoked_subcommand is None:
        show(context, json_)


@app.command()
def pause(
    context: typer.Context,
    name: Name,
    until: Annotated[str | None, typer.Option(help="The moment (RFC 3339) at which it is served again.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for whoever asks.")] = None,
    json_: AsJson = False,
) -> None:
    """Stop serving a queue; what runs goes on."""
    answer = door(context).post(address("queues", name, "pause"), query={"until": until, "reason": reason})
    _tell(answer, f"{name} is paused" + (f" until {output.moment(until)}" if until else ""), json_)


@app.command()
def resume(context: typer.Context, name: Name, json_: AsJson = False) -> None:
    """Serve a queue again."""
    _tell(door(context).post(address("queues", name, "resume")), f"{name} is served", json_)


@app.command()
def purge(context: typer.Context, name: Name, dry_run: DryRun = False, yes: Yes = False, json_: AsJson = False) -> None:
    """Cancel what waits in a queue."""
    bulk.run(door(context), address("queues", name, "purge"), None, dry_run=dry_run, yes=yes, json_=json_)


@app.command()
def move(
    context: typer.Context,
    name: Name,
    to: Annotated[str, typer.Argument(help="The queue that they go to.", autocompletion=completion.queues)],
    dry_run: DryRun = False,
    yes: Yes = False,
    json_: AsJson = False,
) -> None:
    """Move what waits in a queue to another."""
    path = address("queues", name, "move")
    bulk.run(door(context), path, None, {"to": to}, dry_run=dry_run, yes=yes, json_=json_)


def show(context: typer.Context, json_: bool) -> None:
    answer = door(context).get(address("queues"))
    if json_:
        output.as_json(answer)
        return
    columns = ("queue", "pending", "started", "retry", "oldest s", "starts/s", "consumers", "slots", "paused")
    output.table(columns, [_row(queue) for queue in answer["queues"]])


def _row(queue: dict[str, Any]) -> list[Any]:
    depth = [queue["depth"][state] for state in ("PENDING", "STARTED", "RETRY")]
    return [
        queue["name"],
        *depth,
        *(queue[name] for name in ("oldest_age", "rate", "consumers", "slots")),
        _pause(queue),
    ]


def _pause(queue: dict[str, Any]) -> str:
    paused = queue["paused"]
    return "" if paused is None else f"until {output.moment(paused['until']) or 'resumed'}"


def _tell(answer: Any, words: str, json_: bool) -> None:
    if json_:
        output.as_json(answer)
    else:
        output.say(words)
