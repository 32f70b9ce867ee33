"""What the record holds now, in figures: for whoever compares it with brokers and workers, or watches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tasks.worker import Worker

#: How many of the latest events are read for what fails, and how old one may be, in milliseconds.
RECENT_EVENTS = 20_000
RECENT = 3_600_000


class Waiting(Struct, frozen=True, kw_only=True):
    """The waiting jobs of one queue and task that are not held. Moments are milliseconds, None for none.

    `due` counts those that could start; `plain_since` is since when one is due that must pass no limit; `attempts` is
    the most that one of them has behind it; `example` is the oldest one's id.
    """

    queue: str
    task: str
    jobs: int
    due: int
    due_since: int | None
    rung: int
    plain_since: int | None
    attempts: int
    example: str


class Holding(Struct, frozen=True, kw_only=True):
    """The running jobs of one owner; `lease_until` is the first end of a lease."""

    owner: str
    jobs: int
    lease_until: int


class Outcome(Struct, frozen=True, kw_only=True):
    """Attempts of one task that ended alike lately; `message` and `job_id` are the last one's."""

    task: str
    status: str
    error_code: str | None
    error_type: str | None
    count: int
    message: str | None
    job_id: str


class Planned(Struct, frozen=True, kw_only=True):
    """A schedule that stands: when it fires next, why it is paused, what kept it from making its last job."""

    name: str
    timezone: str
    cron: bool
    enabled: bool
    paused: str | None
    next_at: int | None
    error: str | None


class Inventory(Struct, frozen=True, kw_only=True):
    """The record at `now`. `unstaged_since`, `unexpired_since`: the oldest moment that upkeep has let pass;
    `oldest_end`: when the job with the oldest row ended, None while it has not; `paused`: each paused queue, and
    until when."""

    now: int
    workers: Sequence[Worker]
    waiting: Sequence[Waiting]
    running: Sequence[Holding]
    outcomes: Sequence[Outcome]
    unstaged_since: int | None
    unexpired_since: int | None
    oldest_end: int | None
    paused: Mapping[str, int | None] = {}
    schedules: Sequence[Planned] = ()


class Expiry(Struct, frozen=True, kw_only=True):
    """Results whose time was over: `emptied` now, `gone` in all as far as their jobs' rows stand; `kept` are shown."""

    emptied: int
    gone: int
    kept: int
