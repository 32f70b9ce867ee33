"""`@schedule(…)` over `@task`: schedules that code declares; pure. In the store they are an operator's to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from tasks.errors import ConfigurationError, InvalidSchedule
from tasks.schedule import Spec, rule_of
from tasks.task import Task

T = TypeVar("T", bound=Task[..., Any])


def schedule(name: str | None = None, **fields: Any) -> Callable[[T], T]:
    """Declare a schedule of the task below; `fields` are those of `tasks.schedule.Spec`, `name` is the task's if none
    is given. Raises ConfigurationError for a rule that cannot be taken."""

    def declare(task: T) -> T:
        wanted = {"name": name or task.name, "task": task.name, **fields}
        try:
            spec = msgspec.convert(wanted, Spec)
            rule_of(spec, 0)
        except (msgspec.ValidationError, InvalidSchedule) as error:
            raise ConfigurationError(f"schedule {wanted['name']!r} of task {task.name}: {error}") from None
        task.schedules.append(spec)
        return task

    return declare


def declared(tasks: Iterable[Task[..., Any]]) -> list[Spec]:
    """All that these tasks declare. Raises ConfigurationError where two have one name."""
    found: dict[str, Spec] = {}
    for spec in (spec for task in tasks for spec in task.schedules):
        if spec.name in found:
            owners = f"{found[spec.name].task} and {spec.task}"
            raise ConfigurationError(f"two schedules are named {spec.name!r}, of {owners}: give one another name")
        found[spec.name] = spec
    return list(found.values())
