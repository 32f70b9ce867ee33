"""The back-office's addresses of schedules, in exactly its shape: thin aliases over the same rows."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from gateway import intake, schedules, views
from gateway.call import Call
from gateway.problems import in_body
from gateway.reply import Reply, encode, ok
from gateway.schedule_views import MAX_PAGE
from tasks import cron
from tasks.cron import BadCron
from tasks.errors import InvalidSchedule, InvalidSubmission, UnknownTask
from tasks.moment import moment, moment_or_none
from tasks.registry import Registry
from tasks.schedule import MAX_NAME, Schedule, read_spec

T = TypeVar("T")

_ADDRESS = b"/api/v1/scheduled-tasks/"
_FIELD = "task_crontab_"
#: What `task_extra_config` may hold: fields of a schedule, under their own names.
_EXTRA = ("queue", "args", "kwargs", "priority", "expires", "max_retries", "soft_time_limit", "time_limit", "tags",
          "concurrency_key", "timezone", "overlap", "catch_up", "jitter", "pause_after", "start",
          "end")  # fmt: skip  # one list

CronField = Annotated[str | int, Meta(description="As in Celery's crontab")]


class ScheduledTask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule as the back-office writes it.

    `task_name` names the schedule. `task_path` names the task: by its registered name, as the path of its function, or
    as the path that a function of that name had in another project, if exactly one task fits. `task_extra_config`
    holds `queue` and other fields of a schedule.
    """

    task_name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    task_path: str
    task_type: Annotated[str, Meta(max_length=40)] = "user"
    task_enabled: bool = True
    task_crontab_minute: CronField = "*"
    task_crontab_hour: CronField = "*"
    task_crontab_day_of_week: CronField = "*"
    task_crontab_day_of_month: CronField = "*"
    task_crontab_month_of_year: CronField = "*"
    task_extra_config: dict[str, Any] | None = None


class ScheduledTaskChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields to be changed; what is left out stays."""

    task_name: str | None = None
    task_path: str | None = None
    task_type: str | None = None
    task_enabled: bool | None = None
    task_crontab_minute: CronField | None = None
    task_crontab_hour: CronField | None = None
    task_crontab_day_of_week: CronField | None = None
    task_crontab_day_of_month: CronField | None = None
    task_crontab_month_of_year: CronField | None = None
    task_extra_config: dict[str, Any] | None = None


class ScheduledTaskView(Struct, frozen=True, kw_only=True):
    """The five fields are null for a schedule that goes by an interval or fires once."""

    id: views.Id
    task_name: str
    task_path: str
    task_type: str
    task_enabled: bool
    task_crontab_minute: str | None
    task_crontab_hour: str | None
    task_crontab_day_of_week: str | None
    task_crontab_day_of_month: str | None
    task_crontab_month_of_year: str | None
    task_extra_config: dict[str, Any]
    last_run_at: views.Moment | None
    next_run_at: views.Moment | None
    total_run_count: int
    created_at: views.Moment
    updated_at: views.Moment


class ScheduledTaskList(Struct, frozen=True, kw_only=True):
    scheduled_tasks: Sequence[ScheduledTaskView]
    count: int


async def list_tasks(call: Call) -> Reply:
    found: list[Schedule] = []
    while page := await call.control.schedules.list(MAX_PAGE, found[-1].name if found else ""):
        found += page
    shown = [_view(each) for each in call.control.schedules.readable(found)]
    return ok(ScheduledTaskList(scheduled_tasks=shown, count=len(shown)))


async def create(call: Call) -> Reply:
    wish = intake.to_struct(await schedules.body(call), ScheduledTask)
    given = {name: getattr(wish, name) for name in ScheduledTask.__struct_fields__}
    fields = _fields(given, {}, call.control.registry)
    enabled = fields.pop("enabled")
    made = await _pointed(_created(call, fields, enabled))
    return Reply(201, encode(_view(made)), [(b"location", _ADDRESS + made.id.encode())])


async def read(call: Call) -> Reply:
    return ok(_view(await call.control.schedules.read(schedules.key(call))))


async def change(call: Call) -> Reply:
    body = await schedules.body(call)
    intake.to_struct(body, ScheduledTaskChange)
    given = {name: value for name, value in body.items() if value is not None}
    present = read_spec((await call.control.schedules.read(schedules.key(call))).spec)
    before = {} if present.cron is None else cron.split(present.cron)
    fields = _fields(given, before, call.control.registry)
    return ok(_view(await _pointed(schedules.merged(call, fields))))


async def delete(call: Call) -> Reply:
    return ok(_view(await call.control.schedules.delete(schedules.key(call))))


def _fields(given: Mapping[str, Any], before: Mapping[str, str], registry: Registry) -> dict[str, Any]:
    """The same in the words of a schedule."""
    plain = {"task_name": "name", "task_type": "type", "task_enabled": "enabled"}
    fields = {ours: given[theirs] for theirs, ours in plain.items() if theirs in given}
    if "task_path" in given:
        fields["task"] = _task_at(given["task_path"], registry)
    parts = {name.removeprefix(_FIELD): value for name, value in given.items() if name.startswith(_FIELD)}
    if parts:
        try:
            fields["cron"] = cron.join({**before, **parts})
        except BadCron as error:
            raise in_body("invalid-schedule", str(error), f"/{_FIELD}{error.field}") from None
    return {**fields, **_extra(given.get("task_extra_config") or {})}


def _task_at(path: str, registry: Registry) -> str:
    try:
        return registry.by_path(path)
    except UnknownTask as error:
        error.pointer = "/task_path"
        raise


def _extra(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in config:
        if name not in _EXTRA:
            words = f"unknown field {name[:100]!r}; those that are known are {', '.join(_EXTRA)}"
            raise in_body("invalid-schedule", words, f"/task_extra_config/{intake.escaped(name)}")
    return config


async def _created(call: Call, fields: Mapping[str, Any], enabled: bool) -> Schedule:
    return await call.control.schedules.create(schedules.spec_of(fields), enabled)


async def _pointed(work: Awaitable[T]) -> T:
    """What is wrong is pointed at in the caller's words."""
    try:
        return await work
    except InvalidSubmission as error:
        name = error.pointer.removeprefix("/")
        own = {"name": "task_name", "task": "task_path", "type": "task_type", "cron": f"{_FIELD}minute"}
        if isinstance(error, InvalidSchedule) and error.field:
            error.pointer = f"/{_FIELD}{error.field}"
        else:
            error.pointer = f"/{own[name]}" if name in own else f"/task_extra_config{error.pointer}"
        raise


def _view(schedule: Schedule) -> ScheduledTaskView:
    spec = read_spec(schedule.spec)
    parts: Mapping[str, str] = {} if spec.cron is None else cron.split(spec.cron)
    written = msgspec.to_builtins(spec)
    return ScheduledTaskView(
        id=schedule.id,
        task_name=schedule.name,
        task_path=spec.task,
        task_type=spec.type,
        task_enabled=schedule.enabled,
        **{f"{_FIELD}{field.name}": parts.get(field.name) for field in cron.FIELDS},
        task_extra_config={name: written[name] for name in _EXTRA if name in written},
        last_run_at=moment_or_none(schedule.last_at),
        next_run_at=moment_or_none(schedule.next_at),
        total_run_count=schedule.fired,
        created_at=moment(schedule.created_at),
        updated_at=moment(schedule.updated_at),
    )
