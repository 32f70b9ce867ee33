"""Commands about jobs: submit, read, wait, follow, steer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from gateway.cli import completion, output
from gateway.cli.argument import by_place_and_name, value_of
from gateway.cli.bulk import Queues, Tag, Tasks, job_filter
from gateway.cli.door import Door, address
from gateway.cli.exits import CommandError, Exit
from gateway.cli.options import AsJson, JobId, JobIds, Status, door

FINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
MAX_PAGE = 200
#: Seconds of one question while waiting: as long as a progress bar may stand still.
_LOOK = 1.0
_COLUMNS = ("id", "task", "status", "queue", "priority", "attempt", "created", "runtime", "worker", "error")
_WAITING_FIELDS = ("eta", "expires", "countdown", "queue", "priority", "max_retries", "soft_time_limit", "time_limit")

TaskName = Annotated[
    str, typer.Argument(help="The task's name; `jobgate tasks` lists them.", autocompletion=completion.tasks)
]
OtherQueue = Annotated[
    str | None, typer.Option(help="Another queue than the task's own.", autocompletion=completion.queues)
]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most; 0 waits for ever.", min=0)]


def submit(
    context: typer.Context,
    task: TaskName,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[VALUE|NAME=VALUE]...", help="JSON where it is JSON, else text.")
    ] = None,
    kwargs: Annotated[str, typer.Option(help="Keyword arguments as one JSON object.")] = "{}",
    queue: OtherQueue = None,
    priority: Annotated[int | None, typer.Option(help="0 to 9, 9 first.")] = None,
    countdown: Annotated[float | None, typer.Option(help="Seconds until it is due.")] = None,
    eta: Annotated[str | None, typer.Option(help="The moment it is due: RFC 3339 with an offset.")] = None,
    expires: Annotated[str | None, typer.Option(help="Seconds or a moment: later than that it never starts.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="How often it is run again after a failure.")] = None,
    soft_time_limit: Annotated[float | None, typer.Option(help="Seconds until the task is interrupted.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds until it is ended.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by; may be repeated.")] = None,
    held: Annotated[bool, typer.Option(help="Accept it, but do not start it before a release.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key submits the same job only once.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end, as `jobgate wait` does.")] = False,
    timeout: Timeout = 0.0,
    json_: AsJson = False,
) -> None:
    """Submit a job; prints its id."""
    given = {name: value for name, value in locals().items() if name in _WAITING_FIELDS and value is not None}
    if expires is not None:
        given["expires"] = value_of(expires) if _is_number(expires) else expires
    places, names = by_place_and_name(arguments or [])
    body = {"task": task, "args": places, "kwargs": {**_object(kwargs), **names}, "held": held, **given}
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    here = door(context)
    job = here.send("POST", address("jobs"), body=body | ({"tags": tag} if tag else {}), headers=headers)
    if wait:
        _end([job], wait_for(here, [job["id"]], timeout, json_), json_)
    elif json_:
        output.as_json(job)
    else:
        output.say(job["id"])


def status(context: typer.Context, ids: JobIds, json_: AsJson = False) -> None:
    """Show jobs as they stand."""
    here = door(context)
    jobs = [here.get(address("jobs", each)) for each in ids]
    if json_:
        output.as_json(jobs[0] if len(jobs) == 1 else jobs)
        return
    for job in jobs:
        show_job(job)


def wait(context: typer.Context, ids: JobIds, timeout: Timeout = 0.0, json_: AsJson = False) -> None:
    """Wait until jobs have ended. Exit code 1 when one did not succeed, 4 when the time was over."""
    _end(ids, wait_for(door(context), ids, timeout, json_), json_)


def result(context: typer.Context, id: JobId) -> None:
    """Print what a job's task returned, as JSON."""
    output.as_json(door(context).get(address("jobs", id, "result")))


def attempts(context: typer.Context, id: JobId, json_: AsJson = False) -> None:
    """Show how each run of a job ended."""
    answer = door(context).get(address("jobs", id, "attempts"))
    if json_:
        output.as_json(answer)
        return
    rows = [
        (run["attempt"], run["status"], output.moment(run["started_at"]), run["runtime"], run["worker"], _error(run))
        for run in answer["attempts"]
    ]
    output.table(("attempt", "status", "started", "runtime", "worker", "error"), rows)
    for run in answer["attempts"]:
        _show_traceback(run, f"attempt {run['attempt']}: ")


def why(context: typer.Context, id: JobId, json_: AsJson = False) -> None:
    """Say why a job does not run, or how it stands."""
    here = door(context)
    answer = here.get(address("jobs", id, "why"))
    if json_:
        output.as_json(answer)
        return
    for reason in answer["reasons"]:
        output.say(f"{'*' if reason['blocking'] else '-'} {reason['detail']} ({reason['code']})")
        if reason["remedy"]:
            output.say(f"  {reason['remedy']}")
    _show_traceback(here.get(address("jobs", id)))


def logs(
    context: typer.Context,
    id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    json_: AsJson = False,
) -> None:
    """Print what a job's task logged."""
    show: Callable[[Any], None] = output.as_line if json_ else _show_line
    here = door(context)
    if follow:
        for event in here.follow(address("jobs", id, "events")):
            if event.name == "log":
                show(event.data)
        return
    page: dict[str, Any] = {"next_after": 0}
    while page.get("lines", True):
        page = here.get(address("jobs", id, "logs"), {"after": page["next_after"]})
        for line in page["lines"]:
            show(line)


def list_(
    context: typer.Context,
    status: Status = None,
    task: Tasks = None,
    queue: Queues = None,
    tag: Tag = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
    json_: AsJson = False,
) -> None:
    """List jobs, newest first."""
    jobs = list_jobs(door(context), job_filter(status, task, queue, tag), limit)
    if json_:
        output.as_json(jobs)
    else:
        show_jobs(jobs)


def list_jobs(here: Door, query: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """The newest jobs that fit, page by page."""
    found: list[dict[str, Any]] = []
    token = ""
    while len(found) < limit:
        size = min(MAX_PAGE, limit - len(found))
        page = here.get(address("jobs"), {**query, "page_size": size, "page_token": token})
        found += page["jobs"]
        token = page["next_page_token"]
        if not token:
            break
    return found


def wait_for(here: Door, ids: Sequence[str], timeout: float, quiet: bool) -> list[dict[str, Any]]:
    """The jobs once they have ended, or as they stand after `timeout` seconds (0: no limit)."""
    ends = time.monotonic() + timeout if timeout else float("inf")
    ended: list[dict[str, Any]] = []
    with output.progress(quiet) as bar:
        row = bar.add_task("jobs", total=len(ids))
        for each in ids:
            job = here.get(address("jobs", each))
            while job["status"] not in FINAL and (left := ends - time.monotonic()) > 0:
                if len(ids) == 1:
                    bar.update(row, **_bar(job))
                look = min(_LOOK, left)
                job = here.get(address("jobs", each), {"wait": look}, wait=look)
            ended.append(job)
            bar.update(row, completed=len(ended) if len(ids) > 1 else None)
    return ended


def show_job(job: Mapping[str, Any]) -> None:
    fields = {name.replace("_", " "): value for name, value in job.items() if name != "error"}
    for name in ("created_at", "due_at", "started_at", "finished_at", "expires_at"):
        fields[name.replace("_", " ")] = output.moment(job[name])
    output.sheet({**fields, "error": _error(job)})
    _show_traceback(job)


def show_jobs(jobs: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (
            *(job[name] for name in _COLUMNS[:6]),
            output.moment(job["created_at"]),
            job["runtime"],
            job["worker"],
            _error(job),
        )
        for job in jobs
    ]
    output.table(_COLUMNS, rows)


def _end(wanted: Sequence[Any], jobs: Sequence[Mapping[str, Any]], json_: bool) -> None:
    """Shows how a wait ended, and ends the command with what that means."""
    if json_:
        output.as_json(jobs[0] if len(jobs) == 1 else list(jobs))
    else:
        show_jobs(jobs)
    open_ = [job["id"] for job in jobs if job["status"] not in FINAL]
    if open_:
        raise CommandError(Exit.TOO_LATE, f"{len(open_)} of {len(wanted)} not ended in time: {', '.join(open_)}")
    if any(job["status"] != "SUCCESS" for job in jobs):
        raise typer.Exit(Exit.BAD)


def _is_number(text: str) -> bool:
    return isinstance(value_of(text), int | float)


def _object(text: str) -> dict[str, Any]:
    value = value_of(text)
    if not isinstance(value, dict):
        raise CommandError(Exit.USAGE, f"--kwargs takes a JSON object; got {text[:100]!r}")
    return value


def _bar(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a progress bar can know of a running job."""
    told = job["progress"] or {}
    words = told.get("message") or f"{job['task']} {job['status']}"
    return {"description": words, "completed": told.get("current"), "total": told.get("total")}


def _error(of: Mapping[str, Any]) -> str:
    error = of["error"]
    return "" if error is None else ": ".join(filter(None, [error["code"], error["type"], error["message"]]))


def _show_traceback(of: Mapping[str, Any], before: str = "") -> None:
    """The traceback of a job or an attempt, where it has one."""
    if of["error"] is not None and of["error"]["traceback"]:
        output.say(f"{before}{of['error']['traceback'].rstrip()}")


def _show_line(line: Mapping[str, Any]) -> None:
    output.say(f"{output.moment(line['at'])} {line['level']:<7} {line['message']}")
