"""Reads the tables of django-celery-beat, as they lie in some other database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from tasks.cron import FIELDS, BadCron, join
from tasks.errors import ConfigurationError
from tasks.moment import moment
from tasks.store.backend import parse_url

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_PERIODS = {"days": 86_400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0, "microseconds": 1e-6}
_TABLE = "django_celery_beat_"
_READ = f"""
SELECT t.name, t.task, t.args, t.kwargs, t.queue, t.routing_key, t.priority, t.expires, t.expire_seconds, t.one_off,
    t.start_time, t.enabled, t.solar_id, t.crontab_id, c.minute, c.hour, c.day_of_month, c.month_of_year, c.day_of_week,
    c.timezone, i.every, i.period, k.clocked_time
FROM {_TABLE}periodictask AS t LEFT JOIN {_TABLE}crontabschedule AS c ON c.id = t.crontab_id
    LEFT JOIN {_TABLE}intervalschedule AS i ON i.id = t.interval_id
    LEFT JOIN {_TABLE}clockedschedule AS k ON k.id = t.clocked_id ORDER BY t.name"""  # noqa: S608 - its own names


class Entry(Struct, frozen=True, kw_only=True):
    """One schedule of another system, in our words, or why it cannot be had. `once`: only its next fire time."""

    name: str
    fields: Mapping[str, Any] = {}
    enabled: bool = True
    once: bool = False
    problem: str = ""


async def read(url: str) -> list[Entry]:
    """The entries of that database. Raises ConfigurationError where its tables cannot be read."""
    parsed = parse_url(url)
    engine = create_async_engine(parsed.set(drivername=_DRIVERS[parsed.get_backend_name()]))
    try:
        async with engine.connect() as connection:
            rows = (await connection.execute(text(_READ))).mappings().all()
    except (SQLAlchemyError, OSError) as error:
        raise ConfigurationError(f"the tables of django-celery-beat cannot be read there: {error}") from error
    finally:
        await engine.dispose()
    return [_entry(row) for row in rows]


def _entry(row: Mapping[Any, Any]) -> Entry:
    name = str(row["name"])
    try:
        fields = {**_when(row), **_job(row), **_bounds(row)}
    except (ValueError, BadCron) as error:
        return Entry(name=name, problem=str(error))
    once = bool(row["one_off"]) and "at" not in fields
    return Entry(name=name, fields={"name": name, **fields}, enabled=bool(row["enabled"]), once=once)


def _when(row: Mapping[Any, Any]) -> dict[str, Any]:
    if row["crontab_id"] is not None:
        expression = join({field.name: row[field.name] for field in FIELDS})
        return {"cron": expression, "timezone": str(row["timezone"] or "UTC")}
    if row["every"] is not None:
        return {"every": row["every"] * _PERIODS[row["period"]]}
    if row["clocked_time"] is not None:
        return {"at": _moment(row["clocked_time"])}
    raise ValueError("a solar schedule has no counterpart" if row["solar_id"] is not None else "it has no schedule")


def _job(row: Mapping[Any, Any]) -> dict[str, Any]:
    fields = {
        "task": row["task"],
        "args": json.loads(row["args"] or "[]"),
        "kwargs": json.loads(row["kwargs"] or "{}"),
        "queue": row["queue"] or row["routing_key"],
        "priority": row["priority"],
        "expires": row["expire_seconds"],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _bounds(row: Mapping[Any, Any]) -> dict[str, str]:
    bounds = {"start": row["start_time"], "end": row["expires"]}
    return {name: _moment(value) for name, value in bounds.items() if value is not None}


def _moment(value: Any) -> str:
    """SQLite gives text, PostgreSQL a datetime; Django keeps both in UTC."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return moment(round(aware.timestamp() * 1000))
