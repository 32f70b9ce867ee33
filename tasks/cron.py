"""Cron expressions with Celery's fields and Celery's meaning, on a wall clock that knows no time zone; pure.

A day must fit day_of_month, month_of_year and day_of_week all three, as in Celery; cron(8) would take either day.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta

from msgspec import Struct

_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
           "december")  # fmt: skip  # one list

#: Years within which every combination of a day, a month and a weekday comes again, 2100 without its leap day included.
_HORIZON = 41
_AROUND_COMMA = re.compile(r"\s*,\s*")
_DAYS_IN = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Field(Struct, frozen=True, kw_only=True):
    """One of the five: what it is called and which numbers it takes; `names[n]` stands for `low + n`."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


#: In the order of an expression.
FIELDS = (
    Field(name="minute", low=0, high=59),
    Field(name="hour", low=0, high=23),
    Field(name="day_of_month", low=1, high=31),
    Field(name="month_of_year", low=1, high=12, names=_MONTHS),
    Field(name="day_of_week", low=0, high=6, names=_WEEKDAYS),
)


class BadCron(ValueError):
    """An expression that cannot be taken; `field` names the part that is wrong, "" the whole."""

    def __init__(self, detail: str, field: str = "") -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.field = field


class Cron:
    """Which minutes of which days."""

    def __init__(self, values: Mapping[str, frozenset[int]]) -> None:
        self._days = tuple(sorted(values["day_of_month"]))
        self._months = tuple(sorted(values["month_of_year"]))
        self._weekdays = values["day_of_week"]
        #: Minutes of a day, counted from midnight.
        self._times = sorted(60 * hour + minute for hour in values["hour"] for minute in values["minute"])
        #: It goes by the hour and not by the time of day: see `tasks.schedule` for what that means to a clock change.
        self.every_hour = len(values["hour"]) == 24
        if all(day > _DAYS_IN[month - 1] for day in self._days for month in self._months):
            raise BadCron("no such day in any of the months given: it would never fire", "day_of_month")

    def after(self, wall: datetime) -> datetime | None:
        """The first matching minute later than `wall`; None when the calendar ends before."""
        today = wall.date()
        n = bisect_left(self._times, wall.hour * 60 + wall.minute + 1)
        if n < len(self._times) and self._fits(today):
            return _at(today, self._times[n])
        following = next(self._days_from(today + timedelta(days=1)), None)
        return None if following is None else _at(following, self._times[0])

    def _fits(self, day: date) -> bool:
        return day.day in self._days and day.month in self._months and day.isoweekday() % 7 in self._weekdays

    def _days_from(self, start: date) -> Iterator[date]:
        for year in range(start.year, min(start.year + _HORIZON, 9998)):
            for month in self._months:
                if (year, month) >= (start.year, start.month):
                    yield from (day for day in self._days_of(year, month) if day >= start)

    def _days_of(self, year: int, month: int) -> Iterator[date]:
        first = date(year, month, 1)
        for day in self._days:
            found = first + timedelta(days=day - 1)
            if found.month == month and found.isoweekday() % 7 in self._weekdays:
                yield found


def _at(day: date, minutes: int) -> datetime:
    return datetime.combine(day, time(*divmod(minutes, 60)))


def parse(expression: str) -> Cron:
    """The five fields `minute hour day_of_month month_of_year day_of_week`. Raises BadCron."""
    parts = expression.split()
    if len(parts) != 5:
        raise BadCron(
            f"takes five fields, minute hour day_of_month month_of_year day_of_week, such as '0 2 * * mon'; "
            f"got {len(parts)} in {expression[:100]!r}"
        )
    return Cron({field.name: _values(field, part) for field, part in zip(FIELDS, parts, strict=True)})


def join(fields: Mapping[str, str | int]) -> str:
    """The expression of these fields by name; one that is not given means every. Raises BadCron."""
    parts = []
    for field in FIELDS:
        text = _AROUND_COMMA.sub(",", str(fields.get(field.name, "*")).strip())
        if text.split() != [text]:
            raise BadCron(
                f"{text[:100]!r} is not one field: several values are joined by commas, as in 1,5", field.name
            )
        _values(field, text)
        parts.append(text)
    return " ".join(parts)


def split(expression: str) -> dict[str, str]:
    """The fields by name."""
    return dict(zip((field.name for field in FIELDS), expression.split(), strict=True))


def _values(field: Field, text: str) -> frozenset[int]:
    return frozenset(number for part in text.split(",") for number in _part(field, part))


def _part(field: Field, part: str) -> list[int]:
    numbers, slash, step = part.partition("/")
    low, dash, high = numbers.partition("-")
    if numbers == "*":
        found = list(range(field.low, field.high + 1))
    elif dash:
        found = _range(field, _number(field, low), _number(field, high))
    elif slash:
        raise BadCron(f"{part!r}: a step stands after * or a range, such as */{step} or 1-9/{step}", field.name)
    else:
        found = [_number(field, low)]
    return found[:: _step(field, part, step)] if slash else found


def _range(field: Field, low: int, high: int) -> list[int]:
    """From `low` to `high`, over the end and on from the beginning where `high` comes first (`fri-mon`)."""
    if low <= high:
        return list(range(low, high + 1))
    return [*range(low, field.high + 1), *range(field.low, high + 1)]


def _step(field: Field, part: str, step: str) -> int:
    if not (step.isascii() and step.isdigit()) or len(step) > 4 or int(step) == 0:
        raise BadCron(f"{part!r}: a step is a whole number above 0, such as */5", field.name)
    return int(step)


def _number(field: Field, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 4 and field.low <= int(text) <= field.high:
        return int(text)
    for n, name in enumerate(field.names):
        if text.lower() in (name, name[:3]):
            return field.low + n
    names = f" or {field.names[0][:3]} to {field.names[-1][:3]}" if field.names else ""
    sunday = "; Sunday is 0" if field.name == "day_of_week" else ""
    raise BadCron(
        f"{text[:50]!r} is not one of its values: it takes {field.low} to {field.high}{names}{sunday}, "
        "*, ranges such as 1-5, steps such as */2, and lists of these with commas",
        field.name,
    )
