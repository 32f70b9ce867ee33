"""Commands about schedules: made, changed, paused, previewed, run by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from gateway.cli import completion, output
from gateway.cli.argument import by_place_and_name, value_of
from gateway.cli.door import Door, address
from gateway.cli.options import AsJson, DryRun, Yes, door
from gateway.cli.processes import PASS_ON, become

app = typer.Typer(name="schedules", help="List the schedules, or steer one.", invoke_without_command=True)

#: Schedules asked for at once.
PAGE = 200

Name = Annotated[str, typer.Argument(help="The schedule's name or id.", autocompletion=completion.schedules)]
Cron = Annotated[str | None, typer.Option(help="Five fields, as in Celery's crontab: '30 2 * * mon-fri'.")]
Every = Annotated[float | None, typer.Option(help="Seconds between two fire times.")]
At = Annotated[str | None, typer.Option(help="One moment: RFC 3339 with an offset.")]
Zone = Annotated[str | None, typer.Option("--timezone", help="An IANA name; without it the deployment's.")]
Queue = Annotated[
    str | None, typer.Option(help="The jobs' queue; without it the task's own.", autocompletion=completion.queues)
]
Priority = Annotated[int | None, typer.Option(help="The jobs' priority, 0 to 9, 9 first.")]
Overlap = Annotated[
    str | None, typer.Option(help="One of allow_all, skip, queue_one, cancel_running: for an open job before it.")
]
Fields = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other field; JSON where it is JSON.")
]


@app.callback()
def list_(context: typer.Context, json_: AsJson = False) -> None:
    """List the schedules by name, or steer one."""
    if context.invoked_subcommand is not None:
        return
    answer = _all(door(context))
    if json_:
        output.as_json(answer)
        return
    rows = [
        (
            each["name"],
            each["task"],
            _rule(each),
            each["timezone"],
            "on" if each["enabled"] else f"paused ({each['paused']})",
            output.moment(each["next_at"]),
            output.moment(each["last_at"]),
            each["fired"],
            each["missed"],
            each["skipped"],
            each["error"],
        )
        for each in answer["schedules"]
    ]
    columns = ("name", "task", "when", "zone", "state", "next", "last", "fired", "missed", "skipped", "error")
    output.table(columns, rows)


@app.command()
def show(context: typer.Context, name: Name, json_: AsJson = False) -> None:
    """Show one schedule."""
    _tell(door(context).get(address("schedules", name)), json_)


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name.")],
    task: Annotated[str, typer.Argument(help="The task that it runs.", autocompletion=completion.tasks)],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[VALUE|NAME=VALUE]...", help="As for `jobgate submit`.")
    ] = None,
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    timezone: Zone = None,
    queue: Queue = None,
    priority: Priority = None,
    overlap: Overlap = None,
    fields: Fields = None,
    json_: AsJson = False,
) -> None:
    """Make a schedule."""
    args, kwargs = by_place_and_name(arguments or [])
    given = _given(cron=cron, every=every, at=at, timezone=timezone, queue=queue, priority=priority, overlap=overlap)
    body = {"name": name, "task": task, "args": args, "kwargs": kwargs, **given, **_fields(fields)}
    _tell(door(context).post(address("schedules"), body), json_)


@app.command()
def change(
    context: typer.Context,
    name: Name,
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    timezone: Zone = None,
    queue: Queue = None,
    priority: Priority = None,
    overlap: Overlap = None,
    fields: Fields = None,
    json_: AsJson = False,
) -> None:
    """Change a schedule; what is not named stays. It fires by its new rule at once."""
    given = _given(cron=cron, every=every, at=at, timezone=timezone, queue=queue, priority=priority, overlap=overlap)
    answer = door(context).send("PATCH", address("schedules", name), body={**given, **_fields(fields)})
    _tell(answer, json_)


@app.command()
def delete(context: typer.Context, name: Name, yes: Yes = False, json_: AsJson = False) -> None:
    """Delete a schedule; its jobs stay."""
    output.confirm(f"delete the schedule {name}", yes)
    answer = door(context).send("DELETE", address("schedules", name))
    if json_:
        output.as_json(answer)
    else:
        output.say(f"{answer['name']} is deleted")


@app.command()
def pause(context: typer.Context, name: Name, json_: AsJson = False) -> None:
    """Stop firing."""
    _tell(door(context).post(address("schedules", name, "pause")), json_)


@app.command()
def resume(context: typer.Context, name: Name, json_: AsJson = False) -> None:
    """Fire again, from now on."""
    _tell(door(context).post(address("schedules", name, "resume")), json_)


@app.command()
def run(context: typer.Context, name: Name, json_: AsJson = False) -> None:
    """Make a job of it now; prints the job's id."""
    job = door(context).post(address("schedules", name, "run"))
    if json_:
        output.as_json(job)
    else:
        output.say(job["id"])


@app.command()
def preview(
    context: typer.Context,
    name: Name,
    number: Annotated[int, typer.Option("-n", help="How many.", min=1, max=100)] = 10,
    json_: AsJson = False,
) -> None:
    """Show the next fire times, and what changes of the clock do to them."""
    answer = door(context).get(address("schedules", name, "preview"), {"n": number})
    if json_:
        output.as_json(answer)
    else:
        output.table(
            ("at", "local", "note"), [(fire["at"], fire["local"], fire["note"]) for fire in answer["fire_times"]]
        )


@app.command()
def fires(context: typer.Context, name: Name, json_: AsJson = False) -> None:
    """Show what was decided about its last fire times."""
    answer = door(context).get(address("schedules", name, "fires"))
    if json_:
        output.as_json(answer)
        return
    columns = ("at", "outcome", "cause", "job_id", "status", "reason")
    output.table(columns, [[fire[column] for column in columns] for fire in answer["fires"]])


@app.command()
def backfill(
    context: typer.Context,
    name: Name,
    start: Annotated[str, typer.Argument(help="The first moment (RFC 3339).")],
    end: Annotated[str, typer.Argument(help="The last one.")],
    dry_run: DryRun = False,
    json_: AsJson = False,
) -> None:
    """Make the jobs of past fire times that have none."""
    body = {"start": start, "end": end, "dry_run": dry_run}
    answer = door(context).post(address("schedules", name, "backfill"), body)
    if json_:
        output.as_json(answer)
    else:
        words = "would be made" if dry_run else "were made"
        output.say(f"{answer['count']} jobs {words}; {answer['existing']} fire times had been decided before")


@app.command("import", context_settings=PASS_ON)
def import_(
    options: Annotated[
        list[str],
        typer.Argument(
            metavar="beat|django SOURCE...", help="`beat module:app`, or `django`, which reads OLD_DATABASE_URL."
        ),
    ],
) -> None:
    """Take schedules over from Celery's beat_schedule or from django-celery-beat, into the store of DATABASE_URL."""
    become("executors.celery_import", *options)


def _all(gateway: Door) -> dict[str, Any]:
    """Every page in one."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = gateway.get(address("schedules"), {"page_size": PAGE, "page_token": token})
        found += page["schedules"]
        token = page["next_page_token"]
        if not token:
            return {**page, "schedules": found}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _fields(given: Sequence[str] | None) -> dict[str, Any]:
    pairs = (text.partition("=") for text in given or ())
    return {name: value_of(value) for name, _, value in pairs}


def _rule(schedule: dict[str, Any]) -> str:
    return schedule["cron"] or (f"every {schedule['every']:g} s" if schedule["every"] else f"at {schedule['at']}")


def _tell(schedule: dict[str, Any], json_: bool) -> None:
    if json_:
        output.as_json(schedule)
        return
    moments = {name: output.moment(value) for name, value in schedule.items() if name.endswith("_at")}
    output.sheet({name.replace("_", " "): value for name, value in {**schedule, **moments}.items()})
