"""Commands that show what there is: tasks, queues, workers, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.door import address
from gateway.cli.options import AsJson, door


def tasks(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="One task, with its arguments.")] = None,
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


def queues(context: typer.Context, json_: AsJson = False) -> None:
    """List the queues: what waits, how long, and who serves them."""
    answer = door(context).get(address("queues"))
    if json_:
        output.as_json(answer)
        return
    rows = [
        (
            queue["name"],
            *(queue["depth"][state] for state in ("PENDING", "STARTED", "RETRY")),
            queue["oldest_age"],
            queue["consumers"],
            queue["slots"],
        )
        for queue in answer["queues"]
    ]
    output.table(("queue", "pending", "started", "retry", "oldest s", "consumers", "slots"), rows)


def workers(context: typer.Context, json_: AsJson = False) -> None:
    """List the processes that run jobs."""
    answer = door(context).get(address("workers"))
    if json_:
        output.as_json(answer)
        return
    rows = [
        (
            worker["name"],
            worker["pid"],
            worker["pool"],
            f"{worker['busy']}/{worker['slots']}",
            "draining" if worker["draining"] else "up",
            output.moment(worker["seen_at"]),
            worker["queues"],
        )
        for worker in answer["workers"]
    ]
    output.table(("worker", "pid", "pool", "busy", "state", "seen", "queues"), rows)


def stats(context: typer.Context, json_: AsJson = False) -> None:
    """Count jobs by state, workers and slots."""
    answer = door(context).get(address("stats"))
    if json_:
        output.as_json(answer)
    else:
        output.sheet({**answer["jobs"], **{name: value for name, value in answer.items() if name != "jobs"}})


def _signature(schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", ())
    return " ".join(name if name in needed else f"[{name}]" for name in schema.get("properties", ()))
