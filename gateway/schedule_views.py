"""Schedules and their fire times as callers see them, and what callers may send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from gateway import views
from tasks.schedule import Overlap, Seconds, Spec

MAX_PAGE = 200
MAX_PREVIEW = 100


class NewSchedule(Spec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A schedule to be made; see `Spec`."""

    enabled: bool = True


class ScheduleChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a schedule to be changed; null gives one its default back, what is left out stays. Naming one of
    `cron`, `every` and `at` takes the others away."""

    name: str | None = None
    task: str | None = None
    cron: str | None = None
    every: float | None = None
    at: str | None = None
    timezone: str | None = None
    start: str | None = None
    end: str | None = None
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    queue: str | None = None
    priority: int | None = None
    expires: float | None = None
    max_retries: int | None = None
    soft_time_limit: float | None = None
    time_limit: float | None = None
    tags: list[str] | None = None
    concurrency_key: str | None = None
    overlap: Overlap | None = None
    catch_up: float | None = None
    jitter: float | None = None
    pause_after: int | None = None
    type: str | None = None
    enabled: bool | None = None


class ScheduleView(Struct, frozen=True, kw_only=True):
    """A schedule. `paused` says why it is not enabled: "operator" or "failures"; `fired`, `missed` and `skipped` count
    fire times; `origin` is "operator", "code" or "import", `declared` whether code declares it; `error` why it cannot
    fire."""

    id: views.Id
    name: str
    task: str
    cron: str | None
    every: float | None
    at: views.Moment | None
    timezone: str
    start: views.Moment | None
    end: views.Moment | None
    args: list[Any]
    kwargs: dict[str, Any]
    queue: str | None
    priority: int | None
    expires: Seconds | None
    max_retries: int | None
    soft_time_limit: float | None
    time_limit: float | None
    tags: list[str]
    concurrency_key: str | None
    overlap: Overlap
    catch_up: float
    jitter: float
    pause_after: int | None
    type: str
    enabled: bool
    paused: str | None
    origin: str
    declared: bool
    next_at: views.Moment | None
    last_at: views.Moment | None
    last_job: views.Id | None
    fired: int
    missed: int
    skipped: int
    failures: int
    error: str | None
    created_at: views.Moment
    updated_at: views.Moment


class SchedulePage(Struct, frozen=True, kw_only=True):
    """One page, by name; `next_page_token` is empty on the last."""

    schedules: Sequence[ScheduleView]
    next_page_token: str


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    page_size: Annotated[int, Meta(ge=1, description=f"More than {MAX_PAGE} means {MAX_PAGE}")] = 100
    page_token: Annotated[str, Meta(description="next_page_token of the page before")] = ""


class PreviewQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    n: Annotated[int, Meta(ge=1, description=f"How many; more than {MAX_PREVIEW} means {MAX_PREVIEW}")] = 10
    after: Annotated[views.Moment | None, Meta(description="From when on; by default from now on")] = None


class FiresQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, description=f"More than {MAX_PAGE} means {MAX_PAGE}")] = 50


class FireTime(Struct, frozen=True, kw_only=True):
    """`local` is what the clock of the schedule's zone shows then; `note` what a change of that clock does to it."""

    at: views.Moment
    local: str
    note: str


class Preview(Struct, frozen=True, kw_only=True):
    timezone: str
    enabled: bool
    fire_times: Sequence[FireTime]


class PastFire(Struct, frozen=True, kw_only=True):
    """What was decided about a fire time: "fired", "queued" (it waits for the job before it), "skipped" or "refused"
    (no job could be made). `cause` is "time", "hand" or "backfill"; `status` the job's."""

    at: views.Moment
    outcome: str
    cause: str
    job_id: views.Id | None
    status: str | None
    reason: str | None
    decided_at: views.Moment
    decided_by: str


class FireList(Struct, frozen=True, kw_only=True):
    """The latest first."""

    fires: Sequence[PastFire]


class Range(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fire times from `start` to `end`, both included. With `dry_run` no job is made."""

    start: views.Moment
    end: views.Moment
    dry_run: bool = False


class BackfillView(Struct, frozen=True, kw_only=True):
    """`fire_times` are those that had no decision yet, `existing` counts the others, `jobs` are the new jobs."""

    dry_run: bool
    count: int
    existing: int
    fire_times: Sequence[views.Moment]
    jobs: Sequence[views.Id]
