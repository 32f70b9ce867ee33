"""Schedules: create, read, change, steer, preview and backfill them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway import intake, views
from gateway.audit import changes
from gateway.call import Call
from gateway.problems import in_body, in_parameter
from gateway.query import page_start, page_token
from gateway.reply import Reply, encode, ok
from gateway.schedule_views import (
    MAX_PAGE,
    MAX_PREVIEW,
    BackfillView,
    FireList,
    FiresQuery,
    FireTime,
    ListQuery,
    NewSchedule,
    PastFire,
    Preview,
    PreviewQuery,
    Range,
    ScheduleChange,
    SchedulePage,
    ScheduleView,
)
from tasks.errors import InvalidSubmission
from tasks.moment import moment, moment_or_none
from tasks.schedule import Occurrence, Schedule, Spec, read_spec
from tasks.store.schedule_store import Past

_ADDRESS = b"/api/v1/schedules/"
_WHEN = ("cron", "every", "at")
#: 9990 in UTC, in milliseconds: zones and clock changes behind it would leave Python's calendar.
_CALENDAR_ENDS = 253_086_768_000_000
_KEPT = ("id", "enabled", "paused", "origin", "last_job", "fired", "missed", "skipped", "failures")


async def list_schedules(call: Call) -> Reply:
    wanted = call.query(ListQuery)
    size = min(wanted.page_size, MAX_PAGE)
    found = await call.control.schedules.list(size + 1, page_start(wanted.page_token) or "")
    token = page_token(found[size - 1].name) if len(found) > size else ""
    shown = call.control.schedules.readable(found[:size])
    return ok(SchedulePage(schedules=[view(call, each) for each in shown], next_page_token=token))


async def create(call: Call) -> Reply:
    wish = intake.to_struct(await body(call), NewSchedule)
    made = await call.control.schedules.create(
        Spec(**{name: getattr(wish, name) for name in Spec.__struct_fields__}), wish.enabled
    )
    return Reply(201, encode(view(call, made)), [(b"location", _ADDRESS + made.id.encode())])


async def read(call: Call) -> Reply:
    return ok(view(call, await call.control.schedules.read(key(call))))


async def change(call: Call) -> Reply:
    wanted = await body(call)
    if not isinstance(wanted, dict):
        raise in_body("invalid-submission", "send an object with the fields to change", "")
    intake.to_struct(wanted, ScheduleChange)
    return ok(view(call, await merged(call, wanted)))


async def delete(call: Call) -> Reply:
    return ok(view(call, await call.control.schedules.delete(key(call))))


async def pause(call: Call) -> Reply:
    return ok(view(call, await call.control.schedules.pause(key(call))))


async def resume(call: Call) -> Reply:
    return ok(view(call, await call.control.schedules.resume(key(call))))


async def run(call: Call) -> Reply:
    job = await call.control.read(await call.control.schedules.run(key(call)))
    return Reply(202, encode(views.job_view(job)), [(b"location", b"/api/v1/jobs/" + job.id.encode())])


async def preview(call: Call) -> Reply:
    wanted = call.query(PreviewQuery)
    after = None if wanted.after is None else _milliseconds(wanted.after, lambda words: in_parameter("after", words))
    schedules = call.control.schedules
    found = await schedules.preview(key(call), min(wanted.n, MAX_PREVIEW), after)
    schedule = await schedules.read(key(call))
    zone = read_spec(schedule.spec).timezone
    times = [_fire_time(each, zone) for each in found]
    return ok(Preview(timezone=zone, enabled=schedule.enabled, fire_times=times))


async def fires(call: Call) -> Reply:
    wanted = call.query(FiresQuery)
    past = await call.control.schedules.history(key(call), min(wanted.limit, MAX_PAGE))
    return ok(FireList(fires=[_past_fire(each) for each in past]))


async def backfill(call: Call) -> Reply:
    wanted = intake.to_struct(await body(call), Range)
    start, end = (
        _milliseconds(text, lambda words, name=name: in_body("invalid-schedule", words, f"/{name}"))  # type: ignore[misc]  # mypy infers no defaults
        for name, text in (("start", wanted.start), ("end", wanted.end))
    )
    done = await call.control.schedules.backfill(key(call), start, end, wanted.dry_run)
    answer = BackfillView(
        dry_run=wanted.dry_run,
        count=len(done.times),
        existing=done.existing,
        fire_times=[moment(each) for each in done.times],
        jobs=done.jobs,
    )
    return Reply(200 if wanted.dry_run else 202, encode(answer))


async def body(call: Call) -> Any:
    return await intake.read(intake.parse_json, await call.json(call.gateway.options.max_body))


def key(call: Call) -> str:
    return call.params["schedule"]


async def merged(call: Call, wanted: Mapping[str, Any]) -> Schedule:
    """The schedule with these fields laid over its own."""
    enabled = wanted.get("enabled")
    fields = {name: value for name, value in wanted.items() if name != "enabled"}
    schedules = call.control.schedules

    def change(spec: Spec) -> Spec:
        changed = _laid_over(spec, fields)
        call.outcome = changes(msgspec.to_builtins(spec), msgspec.to_builtins(changed))
        return changed

    found = await schedules.change(key(call), change)
    if enabled is not None and enabled != found.enabled:
        call.outcome += f"; enabled: {_truth(found.enabled)} -> {_truth(enabled)}"
        return await (schedules.resume if enabled else schedules.pause)(found.id)
    return found


def _truth(value: bool) -> str:
    return str(value).lower()


def view(call: Call, schedule: Schedule) -> ScheduleView:
    spec = read_spec(schedule.spec)
    own = msgspec.structs.asdict(schedule)
    values: dict[str, Any] = {name: own[name] for name in _KEPT}
    values |= {name: moment_or_none(own[name]) for name in ("next_at", "last_at", "created_at", "updated_at")}
    values["declared"] = schedule.declared is not None
    values["error"] = call.control.schedules.trouble(schedule)
    return ScheduleView(**msgspec.structs.asdict(spec), **values)


def _laid_over(spec: Spec, fields: Mapping[str, Any]) -> Spec:
    present = msgspec.to_builtins(spec)
    if any(fields.get(name) is not None for name in _WHEN):
        present = {name: value for name, value in present.items() if name not in _WHEN}
    values = {**present, **fields}
    return spec_of(values)


def spec_of(values: Mapping[str, Any]) -> Spec:
    """The schedule of these fields; null is a default. Raises InvalidSubmission."""
    try:
        return msgspec.convert({name: value for name, value in values.items() if value is not None}, Spec)
    except msgspec.ValidationError as error:
        raise InvalidSubmission(*intake.explained(error, Spec)) from None


def _milliseconds(text: str, refuse: Callable[[str], Exception]) -> int:
    try:
        found = views.milliseconds(text)
    except (ValueError, OverflowError):
        raise refuse("takes an RFC 3339 moment with an offset, such as 2030-01-31T09:00:00Z") from None
    if not 0 <= found < _CALENDAR_ENDS:
        raise refuse("takes a moment of the years 1970 to 9989")
    return found


def _fire_time(found: Occurrence, zone: str) -> FireTime:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=found.at)
    return FireTime(at=moment(found.at), local=at.astimezone(ZoneInfo(zone)).isoformat(), note=found.note)


def _past_fire(past: Past) -> PastFire:
    fields = msgspec.structs.asdict(past)
    del fields["fire_at"]
    return PastFire(**{**fields, "at": moment(past.fire_at), "decided_at": moment(past.decided_at)})
