"""The schedule: a rule that makes jobs. What an operator writes, and when it fires; pure.

Moments are milliseconds since the epoch. The words on clock changes, overlap and catching up are in docs/schedules.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct, field

from tasks import clock_change, cron
from tasks.errors import InvalidSchedule
from tasks.job import Submission

#: Clocks are put back by less than this.
_REPEAT = timedelta(hours=3)
_REPEAT_MS = round(_REPEAT.total_seconds() * 1000)
MAX_NAME = 80
#: Seconds; ten years.
MAX_SECONDS = 10 * 366 * 86_400.0

Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]


class Overlap(StrEnum):
    """What happens at a fire time while a job of the schedule has not ended."""

    ALLOW = "allow_all"
    SKIP = "skip"
    QUEUE = "queue_one"
    CANCEL = "cancel_running"


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an operator writes: the body of `POST /api/v1/schedules`.

    Exactly one of `cron` (five fields), `every` (seconds) and `at` (an RFC 3339 moment) says when. `timezone` is an
    IANA name, by default the deployment's. `expires`, `catch_up` and `jitter` are seconds from the fire time; `start`
    and `end` bound the fire times. The other fields are those of a job.
    """

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=r"^[^/\x00-\x1f\x7f]+$(?!\n)")]
    task: str
    cron: str | None = None
    every: Annotated[float, Meta(ge=1, le=MAX_SECONDS)] | None = None
    at: str | None = None
    timezone: str = ""
    start: str | None = None
    end: str | None = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    queue: str | None = None
    priority: int | None = None
    expires: Seconds | None = None
    max_retries: int | None = None
    soft_time_limit: float | None = None
    time_limit: float | None = None
    tags: list[str] = field(default_factory=list)
    concurrency_key: str | None = None
    overlap: Overlap = Overlap.ALLOW
    catch_up: Annotated[float, Meta(ge=10, le=MAX_SECONDS)] = 3600.0
    jitter: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    pause_after: Annotated[int, Meta(ge=1, le=1000)] | None = None
    type: Annotated[str, Meta(max_length=40)] = "user"

    @property
    def followed(self) -> bool:
        """Whether the fate of its jobs matters to later fire times."""
        return self.overlap is not Overlap.ALLOW or self.pause_after is not None


class Schedule(Struct, frozen=True, kw_only=True):
    """One row. `next_at` is None when nothing more will fire; `paused` says why it is not enabled ("operator" or
    "failures"). `anchor` is where an interval is counted from. `fired`, `missed` and `skipped` count fire times."""

    id: str
    name: str
    spec: str
    declared: str | None
    origin: str
    enabled: bool
    paused: str | None
    version: int
    anchor: int
    next_at: int | None
    last_at: int | None
    last_job: str | None
    fired: int
    missed: int
    skipped: int
    failures: int
    error: str | None
    created_at: int
    updated_at: int


class Occurrence(Struct, frozen=True):
    """A fire time. `wall` is what the clock of the zone is asked for, `note` what a clock change does to it."""

    at: int
    wall: datetime | None = None
    note: str = ""


class Rule(Protocol):
    """When a schedule fires."""

    def after(self, moment: int) -> Occurrence | None:
        """The first fire time later than `moment`."""


class CronRule:
    """By the clock of a zone, whatever is done to that clock."""

    def __init__(self, expression: cron.Cron, where: ZoneInfo) -> None:
        self._cron = expression
        self._zone = where

    def after(self, moment: int) -> Occurrence | None:
        return self._by_hour(moment) if self._cron.every_hour else self._by_time_of_day(moment)

    def _by_time_of_day(self, moment: int) -> Occurrence | None:
        """A time that the clock leaves out is made up for when it jumps; of one shown twice the first counts."""
        for shown in self._walls(clock_change.wall(moment, self._zone)):
            found = clock_change.place(shown, self._zone)
            if found.first > moment:
                return Occurrence(found.first, shown, self._note(shown, found, first=True))
        return None

    def _by_hour(self, moment: int) -> Occurrence | None:
        """What is left out does not happen, what is shown twice happens twice: the hours between are real ones."""
        best: Occurrence | None = None
        for shown in self._walls(self._before_repeats(moment)):
            found = clock_change.place(shown, self._zone)
            for at in () if found.gap else (found.first, found.second):
                if at > moment and (best is None or at < best.at):
                    best = Occurrence(at, shown, self._note(shown, found, first=at == found.first))
            if found.first > moment and best is not None:
                return best
        return best

    def _before_repeats(self, moment: int) -> datetime:
        """A wall time before all that the clock may show after `moment`."""
        shown = clock_change.wall(moment, self._zone)
        offsets = {clock_change.offset(moment + n * _REPEAT_MS, self._zone) for n in (-1, 0, 1)}
        return shown - (timedelta(minutes=1) if len(offsets) == 1 else _REPEAT)

    def _walls(self, shown: datetime) -> Iterator[datetime]:
        following = self._cron.after(shown)
        while following is not None:
            yield following
            following = self._cron.after(following)

    def _note(self, shown: datetime, found: clock_change.Place, first: bool) -> str:
        if found.gap:
            jump = clock_change.wall(found.first, self._zone)
            return f"{shown:%H:%M} does not exist on {shown:%Y-%m-%d} in {self._zone}: it fires at {jump:%H:%M}"
        if found.first == found.second:
            return ""
        which = "the first" if first else "the second"
        return f"{shown:%H:%M} comes twice on {shown:%Y-%m-%d} in {self._zone}: this is {which}"


class EveryRule(Struct, frozen=True):
    """By real time, counted from `anchor` in steps of `step` milliseconds."""

    anchor: int
    step: int

    def after(self, moment: int) -> Occurrence | None:
        return Occurrence(self.anchor + ((moment - self.anchor) // self.step + 1) * self.step)


class OnceRule(Struct, frozen=True):
    at: int

    def after(self, moment: int) -> Occurrence | None:
        return Occurrence(self.at) if self.at > moment else None


class BoundedRule(Struct, frozen=True):
    """Another rule between two moments, both included."""

    rule: Rule
    start: int | None
    end: int | None

    def after(self, moment: int) -> Occurrence | None:
        found = self.rule.after(moment if self.start is None else max(moment, self.start - 1))
        return None if found is None or (self.end is not None and found.at > self.end) else found


def rule_of(spec: Spec, anchor: int) -> Rule:
    """When `spec` fires. Raises InvalidSchedule with the pointer of what is wrong."""
    given = [name for name in ("cron", "every", "at") if getattr(spec, name) is not None]
    if len(given) != 1:
        words = "give one of cron (five fields), every (seconds) and at (a moment)"
        raise InvalidSchedule(f"{words}; got {' and '.join(given) or 'none'}", f"/{given[1]}" if given else "/cron")
    start, end = (_moment(text, f"/{name}") for name, text in (("start", spec.start), ("end", spec.end)))
    if start is not None and end is not None and end < start:
        raise InvalidSchedule("end must not be before start", "/end")
    rule = _plain_rule(spec, anchor, _zone(spec.timezone))
    return rule if start is None and end is None else BoundedRule(rule, start, end)


@lru_cache(maxsize=1024)
def rule_of_text(spec: str, anchor: int) -> Rule:
    """The same for a spec as the store has it."""
    return rule_of(read_spec(spec), anchor)


def occurrences(rule: Rule, moment: int, end: int | None = None) -> Iterator[Occurrence]:
    """The fire times later than `moment` and not later than `end`, in order."""
    found = rule.after(moment)
    while found is not None and (end is None or found.at <= end):
        yield found
        found = rule.after(found.at)


def read_spec(text: str) -> Spec:
    """The spec of a row. Raises InvalidSchedule for one that this release cannot read."""
    try:
        return _read_spec(text)
    except msgspec.DecodeError as error:
        raise InvalidSchedule(f"cannot be read by this release: {error}") from None


def write_spec(spec: Spec) -> str:
    """Its JSON text: the same for the same schedule."""
    return msgspec.json.encode(spec, order="deterministic").decode()


_read_spec = lru_cache(maxsize=1024)(msgspec.json.Decoder(Spec).decode)


def submission(spec: Spec) -> Submission:
    """What a caller would have to send for a job of `spec`."""
    return Submission(
        task=spec.task,
        args=spec.args,
        kwargs=spec.kwargs,
        queue=spec.queue,
        priority=spec.priority,
        max_retries=spec.max_retries,
        soft_time_limit=spec.soft_time_limit,
        time_limit=spec.time_limit,
        tags=[*spec.tags, f"schedule:{spec.name}"],
        concurrency_key=spec.concurrency_key,
    )


def delay(spec: Spec, schedule_id: str, fire_at: int) -> int:
    """Milliseconds of jitter, the same whoever asks."""
    if not spec.jitter:
        return 0
    digest = blake2b(f"{schedule_id}/{fire_at}".encode(), digest_size=4).digest()
    return int(int.from_bytes(digest) / (1 << 32) * spec.jitter * 1000)


def _plain_rule(spec: Spec, anchor: int, where: ZoneInfo) -> Rule:
    if spec.cron is not None:
        try:
            return CronRule(cron.parse(spec.cron), where)
        except cron.BadCron as error:
            raise InvalidSchedule(str(error), "/cron", error.field) from None
    if spec.every is not None:
        return EveryRule(anchor, round(spec.every * 1000))
    at = _moment(spec.at, "/at")
    assert at is not None, "one of the three is given"
    return OnceRule(at)


def _zone(name: str) -> ZoneInfo:
    try:
        return clock_change.zone(name or "UTC")
    except ValueError as error:
        raise InvalidSchedule(str(error), "/timezone") from None


def _moment(text: str | None, pointer: str) -> int | None:
    if text is None:
        return None
    try:
        found = msgspec.convert(text, datetime)
        seconds = found.timestamp() if found.tzinfo is not None else None
    except (msgspec.ValidationError, OverflowError, ValueError):
        seconds = None
    if seconds is None or not 0 <= seconds < 250_000_000_000:
        takes = "takes an RFC 3339 moment with an offset, such as 2030-01-31T09:00:00Z"
        raise InvalidSchedule(f"{takes}; got {text[:100]!r}", pointer)
    return round(seconds * 1000)
