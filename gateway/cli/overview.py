"""Commands that show what there is: tasks, figures, the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.cli import completion, output
from gateway.cli.door import address
from gateway.cli.options import AsJson, door


def tasks(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="One task, with its arguments.", autocompletion=completion.tasks)
    ] = None,
    json_: AsJson = False,
) -> None:
    """List the registered tasks, or show one."""
    answer = door(context).get(address("tasks", *([name] if name else [])))
    if json_:
        output.as_json(answer)
    elif name:
        output.sheet({key.replace("_", " "): value for key, value in answer.items()})
    else:
        rows = [(task["name"], task["queue"], _signature(task["arguments"])) for task in answer["tasks"]]
        output.table(("task", "queue", "arguments"), rows)


def limits(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="The task's name.", autocompletion=completion.tasks)],
    rate: Annotated[str | None, typer.Option(help='As in "10/m"; a bare number is per second.')] = None,
    concurrency: Annotated[int | None, typer.Option(help="How many of its jobs may run at once.", min=1)] = None,
    reset: Annotated[bool, typer.Option(help="What its code declares holds again.")] = False,
    json_: AsJson = False,
) -> None:
    """Show what limits a task, or set it: both limits at once, for all workers, from now on."""
    here, path = door(context), address("tasks", task, "limits")
    if reset:
        answer = here.send("DELETE", path)
    elif rate is None and concurrency is None:
        answer = here.get(path)
    else:
        answer = here.send("PUT", path, body={"rate_limit": rate, "concurrency": concurrency})
    if json_:
        output.as_json(answer)
    else:
        output.sheet({name.replace("_", " "): value for name, value in answer.items()})


def stats(context: typer.Context, json_: AsJson = False) -> None:
    """Count jobs by state, workers and slots."""
    answer = door(context).get(address("stats"))
    if json_:
        output.as_json(answer)
    else:
        output.sheet({**answer["jobs"], **{name: value for name, value in answer.items() if name != "jobs"}})


def audit(
    context: typer.Context,
    who: Annotated[str | None, typer.Option(help="Only of this API key's name.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this operationId, such as purgeQueue.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=200)] = 50,
    json_: AsJson = False,
) -> None:
    """Show who changed what, and what came of it, the latest first."""
    answer = door(context).get(address("audit"), {"who": who, "action": action, "page_size": limit})
    if json_:
        output.as_json(answer)
        return
    columns = ("at", "who", "action", "status", "target", "outcome")
    output.table(
        columns, [[output.moment(row["at"]), *(row[name] for name in columns[1:])] for row in answer["entries"]]
    )


def _signature(schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", ())
    return " ".join(name if name in needed else f"[{name}]" for name in schema.get("properties", ()))
