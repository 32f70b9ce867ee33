"""Commands about workers: who they are, and telling them what to do. Answers say what happened, worker by worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.cli import completion, output
from gateway.cli.door import address
from gateway.cli.exits import Exit
from gateway.cli.options import AsJson, Yes, door

app = typer.Typer(name="workers", help="List the workers, or tell one what to do.", invoke_without_command=True)

Name = Annotated[str, typer.Argument(help="celery@host, gateway@host, or `all`.", autocompletion=completion.workers)]
Number = Annotated[int, typer.Option("-n", help="How many slots.", min=1)]
Queue = Annotated[str, typer.Argument(help="The queue.", autocompletion=completion.queues)]
Wait = Annotated[float, typer.Option(help="Seconds to wait for the answers, at most 60.", min=0, max=60)]
WAIT = 30.0


@app.callback()
def list_(context: typer.Context, json_: AsJson = False) -> None:
    """List the processes that run jobs, or tell one what to do."""
    if context.invoked_subcommand is None:
        show(context, json_)


@app.command()
def restart(context: typer.Context, name: Name, wait: Wait = WAIT, json_: AsJson = False) -> None:
    """Load the code as it is on disk now; what runs may end before."""
    _tell(context, name, "restart", {"wait": wait}, json_)


@app.command()
def shutdown(context: typer.Context, name: Name, yes: Yes = False, wait: Wait = WAIT, json_: AsJson = False) -> None:
    """Let what runs end, give the rest back, and end."""
    output.confirm(f"shut down {name}", yes)
    _tell(context, name, "shutdown", {"wait": wait}, json_)


@app.command()
def grow(context: typer.Context, name: Name, number: Number = 1, wait: Wait = WAIT, json_: AsJson = False) -> None:
    """Add slots."""
    _tell(context, name, "grow", {"n": number, "wait": wait}, json_)


@app.command()
def shrink(context: typer.Context, name: Name, number: Number = 1, wait: Wait = WAIT, json_: AsJson = False) -> None:
    """Take idle slots away; one stays."""
    _tell(context, name, "shrink", {"n": number, "wait": wait}, json_)


@app.command()
def consume(context: typer.Context, name: Name, queue: Queue, wait: Wait = WAIT, json_: AsJson = False) -> None:
    """Serve a queue, until the worker's next start."""
    _tell(context, name, "consume", {"queue": queue, "wait": wait}, json_)


@app.command()
def leave(context: typer.Context, name: Name, queue: Queue, wait: Wait = WAIT, json_: AsJson = False) -> None:
    """Serve a queue no more, until the worker's next start."""
    _tell(context, name, "leave", {"queue": queue, "wait": wait}, json_)


@app.command()
def commands(context: typer.Context, json_: AsJson = False) -> None:
    """List what workers were told last, and what came of it."""
    _show_commands(door(context).get(address("workers", "commands")), json_)


def show(context: typer.Context, json_: bool) -> None:
    answer = door(context).get(address("workers"))
    if json_:
        output.as_json(answer)
        return
    columns = ("worker", "pid", "pool", "state", "busy", "memory MiB", "version", "seen", "queues")
    output.table(columns, [_row(worker) for worker in [*answer["workers"], *answer["lost"]]])


def _row(worker: Mapping[str, Any]) -> list[Any]:
    busy, memory = f"{worker['busy']}/{worker['slots']}", round(worker["memory"] / 2**20)
    start = [worker[name] for name in ("name", "pid", "pool", "state")]
    return [*start, busy, memory, worker["version"], output.moment(worker["seen_at"]), worker["queues"]]


def _tell(context: typer.Context, name: str, verb: str, query: Mapping[str, Any], json_: bool) -> None:
    """Ends with 1 where a worker could not, with 4 where one has not answered in time."""
    wait = float(query["wait"])
    answer = door(context).send("POST", address("workers", name, verb), query=query, wait=wait)
    _show_commands(answer, json_)
    states = {each["state"] for each in answer["commands"]}
    if "failed" in states:
        raise typer.Exit(Exit.BAD)
    if states - {"done"}:
        raise typer.Exit(Exit.TOO_LATE)


def _show_commands(answer: Mapping[str, Any], json_: bool) -> None:
    if json_:
        output.as_json(answer)
        return
    columns = ("worker", "verb", "argument", "state", "outcome")
    output.table(columns, [[each[column] for column in columns] for each in answer["commands"]])
