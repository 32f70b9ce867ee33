"""One verb for all jobs of a filter: counted, asked about, begun, and watched with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gateway.cli import completion, output
from gateway.cli.door import Door, address
from gateway.cli.exits import CommandError, Exit
from gateway.cli.options import AsJson, DryRun, Status, Yes, door

#: Seconds of one question while a bulk action goes on.
_LOOK = 0.5

Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", help="Only jobs of this queue; may be repeated.", autocompletion=completion.queues),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help="Only jobs of this task; may be repeated.", autocompletion=completion.tasks),
]
Tag = Annotated[str | None, typer.Option(help="Only jobs with this tag.")]
Before = Annotated[str | None, typer.Option("--created-before", help="Only jobs from before this moment (RFC 3339).")]


def delete(
    context: typer.Context,
    status: Status = None,
    task: Tasks = None,
    queue: Queues = None,
    tag: Tag = None,
    created_before: Before = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json_: AsJson = False,
) -> None:
    """Delete the rows of ended jobs, by filter."""
    wanted = job_filter(status, task, queue, tag, created_before)
    run(door(context), address("bulk"), {"action": "delete", "filter": wanted}, dry_run=dry_run, yes=yes, json_=json_)


def bulk(
    context: typer.Context,
    bulk_id: Annotated[str | None, typer.Argument(metavar="ID", help="One of them.")] = None,
    json_: AsJson = False,
) -> None:
    """List the latest bulk actions, or show one."""
    answer = door(context).get(address("bulk", *([bulk_id] if bulk_id else [])))
    if json_:
        output.as_json(answer)
    elif bulk_id:
        output.sheet(answer)
    else:
        columns = ("id", "action", "state", "count", "done", "skipped", "failed")
        output.table(columns, [[action[name] for name in columns] for action in answer["actions"]])


def job_filter(
    status: Sequence[str] | None,
    task: Sequence[str] | None,
    queue: Sequence[str] | None,
    tag: str | None,
    created_before: str | None = None,
) -> dict[str, Any]:
    """The conditions that were given."""
    states = [state.upper() for state in status or []]
    given = {"status": states, "task": task, "queue": queue, "tag": tag, "created_before": created_before}
    return {name: value for name, value in given.items() if value}


def run(
    here: Door,
    path: str,
    body: Mapping[str, Any] | None,
    query: Mapping[str, Any] | None = None,
    *,
    dry_run: bool,
    yes: bool,
    json_: bool,
) -> None:
    """Count, ask unless `yes`, do, and tell what was done. `dry_run` stops after the count."""
    found = _ask_gateway(here, path, body, query, dry_run=True)
    if dry_run or not found["count"]:
        _tell_count(found, json_)
        return
    output.confirm(f"{found['action']} {found['count']} jobs", yes)
    done = _watch(here, _ask_gateway(here, path, body, query, dry_run=False), json_)
    if json_:
        output.as_json(done)
    else:
        changed = f"{done['action']}: {done['done']} of {done['count']} jobs"
        output.say(f"{changed}, {done['skipped']} changed by themselves, {done['failed']} failed")
    if done["state"] == "failed" or done["failed"]:
        raise CommandError(Exit.BAD, done["message"] or "the bulk action failed")


def _ask_gateway(
    here: Door, path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None, *, dry_run: bool
) -> Any:
    """One path takes its wishes in the body, others in the query."""
    if body is not None:
        return here.post(path, {**body, "dry_run": dry_run})
    return here.post(path, query={**(query or {}), "dry_run": str(dry_run).lower(), "wait": 0})


def _tell_count(found: Mapping[str, Any], json_: bool) -> None:
    if json_:
        output.as_json(found)
        return
    output.say(f"{found['action']}: {found['count']} jobs fit; nothing was done")
    for job in found["sample"]:
        output.say(f"  {job}")


def _watch(here: Door, action: Mapping[str, Any], quiet: bool) -> Mapping[str, Any]:
    """The action once it has ended."""
    with output.progress(quiet) as bar:
        row = bar.add_task(action["action"], total=action["count"])
        while action["finished_at"] is None:
            time.sleep(_LOOK)
            action = here.get(address("bulk", action["id"]))
            bar.update(row, completed=action["done"] + action["skipped"] + action["failed"])
    return action
