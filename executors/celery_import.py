"""Takes schedules over from Celery: `python -m executors.celery_import beat MODULE:NAME` or `… django DATABASE_URL`.

MODULE:NAME is a Celery app or the dictionary of its `beat_schedule`. May be run again: what is there is left alone.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from celery.schedules import crontab, schedule

from executors import assembly
from executors.django_import import Entry, read
from executors.schedules import Schedules
from executors.settings import Settings
from tasks.admission import Admission
from tasks.cron import FIELDS, BadCron, join
from tasks.errors import ConfigurationError, InvalidSubmission, JobgateError, ScheduleExists
from tasks.moment import moment
from tasks.schedule import Spec, rule_of

USAGE = "usage: python -m executors.celery_import beat MODULE:NAME | django [DATABASE_URL]"
#: Where the URL of the old database stands, if it holds a password: every user of a machine can read command lines.
OLD_DATABASE_URL = "OLD_DATABASE_URL"
#: Options of an entry that are fields of a schedule.
_OPTIONS = ("queue", "priority", "expires", "soft_time_limit", "time_limit")


def entries_of(beat_schedule: Mapping[str, Mapping[str, Any]], timezone: str = "UTC") -> list[Entry]:
    """The entries of a Celery `beat_schedule`; crontabs go by `timezone`, Celery's own setting."""
    return [_entry(name, dict(entry), timezone) for name, entry in beat_schedule.items()]


async def take_over(schedules: Schedules, entries: Iterable[Entry], now: int) -> list[str]:
    """Make schedules of these entries; a line each that says what became of it."""
    return [f"{entry.name}: {await _take(schedules, entry, now)}" for entry in entries]


async def _take(schedules: Schedules, entry: Entry, now: int) -> str:
    if entry.problem:
        return f"refused: {entry.problem}"
    try:
        spec = msgspec.convert(entry.fields, Spec)
        await schedules.create(_once(spec, now) if entry.once else spec, entry.enabled, origin="import")
    except ScheduleExists:
        return "left alone: a schedule of that name is there"
    except InvalidSubmission as error:
        return f"refused: {error.pointer.removeprefix('/')}: {error}".replace(": :", ":")
    except msgspec.ValidationError as error:
        return f"refused: {error}"
    return "taken over" if entry.enabled else "taken over, paused as it was"


def _once(spec: Spec, now: int) -> Spec:
    found = rule_of(spec, now).after(now)
    return spec if found is None else msgspec.structs.replace(spec, cron=None, every=None, at=moment(found.at))


def _entry(name: str, entry: Mapping[str, Any], timezone: str) -> Entry:
    options = entry.get("options") or {}
    fields = {option: _plain(options[option]) for option in _OPTIONS if options.get(option) is not None}
    if "routing_key" in options:
        fields.setdefault("queue", options["routing_key"])
    try:
        when = _when(entry["schedule"], timezone)
    except (KeyError, ValueError, BadCron) as error:
        return Entry(name=name, problem=str(error))
    job = {
        "task": entry.get("task") or name,
        "args": list(entry.get("args") or ()),
        "kwargs": entry.get("kwargs") or {},
    }
    return Entry(name=name, fields={"name": name, **job, **when, **fields})


def _plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _when(rule: Any, timezone: str) -> dict[str, Any]:
    if isinstance(rule, crontab):
        fields = {field.name: _cronspec(getattr(rule, f"_orig_{field.name}")) for field in FIELDS}
        return {"cron": join(fields), "timezone": timezone}
    if isinstance(rule, schedule):
        return {"every": rule.run_every.total_seconds()}
    if isinstance(rule, timedelta):
        return {"every": rule.total_seconds()}
    if isinstance(rule, int | float):
        return {"every": float(rule)}
    raise ValueError(f"{type(rule).__name__} has no counterpart: make it an interval or a crontab")


def _cronspec(value: Any) -> str:
    """A field as Celery takes it: text, a number, or several numbers."""
    return str(value) if isinstance(value, str | int) else ",".join(map(str, sorted(value)))


def _named(place: str) -> list[Entry]:
    module, colon, name = place.partition(":")
    if not colon:
        raise ConfigurationError(f"MODULE:NAME, such as shop.celery:app; got {place!r}")
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{place}: {error}") from error
    if isinstance(found, Mapping):
        return entries_of(found)
    return entries_of(found.conf.beat_schedule, found.conf.timezone or "UTC")


async def _run(settings: Settings, kind: str, place: str) -> Sequence[str]:
    entries = _named(place) if kind == "beat" else await read(place)
    async with assembly.opened(settings) as store:
        admission = Admission(assembly.load_tasks(settings), settings.defaults)
        return await take_over(Schedules(store, admission), entries, await store.now())


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == ["django"] and os.environ.get(OLD_DATABASE_URL):
        arguments = ["django", os.environ[OLD_DATABASE_URL]]
    elif arguments[:1] == ["django"] and any(map(_holds_password, arguments)):
        words = f"set {OLD_DATABASE_URL} and leave the URL out: every user of a machine can read command lines"
        print(f"jobgate: the URL holds a password; {words}", file=sys.stderr)
        return 2
    if len(arguments) != 2 or arguments[0] not in ("beat", "django"):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        lines = asyncio.run(_run(Settings.from_env(), *arguments))
    except JobgateError as error:
        print(f"jobgate: {error.detail}", file=sys.stderr)
        return 2
    for line in _shown(lines):
        print(line)
    return 1 if any(": refused" in line for line in lines) else 0


def _holds_password(text: str) -> bool:
    url = urlsplit(text)
    return url.password is not None or "password=" in url.query


def _shown(lines: Sequence[str]) -> Iterator[str]:
    yield from lines
    yield f"{sum('taken over' in line for line in lines)} of {len(lines)} taken over"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
