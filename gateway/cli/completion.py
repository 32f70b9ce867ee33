"""What a shell may complete beside commands and options: names and ids that the gateway knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

from executors.settings import CallerSettings
from gateway.cli.door import Door, address

#: Seconds that the gateway may take: somebody waits at a prompt.
_PATIENCE = 1.0
#: Jobs that are offered, the newest first.
_JOBS = 100


def tasks(context: typer.Context, incomplete: str) -> list[str]:
    """Names of registered tasks."""
    return _beginning(incomplete, (task["name"] for task in _asked(context, "tasks")))


def queues(context: typer.Context, incomplete: str) -> list[str]:
    """Names of queues."""
    return _beginning(incomplete, (queue["name"] for queue in _asked(context, "queues")))


def jobs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest jobs, each with its task and state."""
    found = _asked(context, "jobs", page_size=_JOBS)
    return [(job["id"], f"{job['task']} {job['status']}") for job in found if job["id"].startswith(incomplete)]


def workers(context: typer.Context, incomplete: str) -> list[str]:
    """Names of live workers, and `all`."""
    return _beginning(incomplete, [*(worker["name"] for worker in _asked(context, "workers")), "all"])


def schedules(context: typer.Context, incomplete: str) -> list[str]:
    """Names of schedules."""
    return _beginning(incomplete, (schedule["name"] for schedule in _asked(context, "schedules")))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _asked(context: typer.Context, what: str, **query: Any) -> list[dict[str, Any]]:
    """The list at `/api/v1/{what}`; an empty one where the gateway does not answer at once."""
    try:
        door = Door(CallerSettings.from_env(url=context.find_root().params.get("url")), _PATIENCE)
        try:
            found: list[dict[str, Any]] = door.get(address(what), query)[what]
        finally:
            door.close()
    except Exception:  # whatever it is, a prompt is no place to say it
        return []
    return found
