"""Looks before a process starts: do the task modules import, are key tasks registered, does the broker answer?"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence

from msgspec import Struct

from executors.assembly import load_tasks
from executors.settings import Settings, place_of
from tasks.errors import ConfigurationError, UnknownTask
from tasks.registry import Registry


class Look(Struct, frozen=True, kw_only=True):
    """One thing that was looked at, and in `detail` what was seen."""

    what: str
    ok: bool
    detail: str


def look(settings: Settings, required: Sequence[str]) -> Iterator[Look]:
    """Each as it is seen. `required` names tasks that must be registered; a broker is needed in Celery mode only."""
    try:
        found = load_tasks(settings)
    except ConfigurationError as error:
        yield Look(what="tasks", ok=False, detail=error.detail)
        found = None
    if found is not None:
        modules = ", ".join(settings.modules)
        yield Look(what="tasks", ok=len(found) > 0, detail=f"{len(found)} tasks are registered, from {modules}")
        yield from (_registered(found, name) for name in required)
    if settings.use_celery:
        yield _broker(settings)


def _registered(found: Registry, name: str) -> Look:
    try:
        task = found.get(name)
    except UnknownTask as error:
        return Look(what=name, ok=False, detail=error.detail)
    return Look(what=name, ok=True, detail=f"is registered, queue {task.queue}")


def _broker(settings: Settings) -> Look:
    # By name, so that nobody in thread mode loads the wire to a broker.
    seen = importlib.import_module("executors.celery_probe").look_at_broker(settings, [])
    place = place_of(settings.broker_url)
    if seen.error:
        return Look(what="broker", ok=False, detail=f"{place} does not answer: {seen.error}; is it running there?")
    return Look(what="broker", ok=True, detail=f"{place} answers")
