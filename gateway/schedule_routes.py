"""The table of contents of schedules: every address, what answers there, and what it says in OpenAPI."""

from __future__ import annotations

from typing import Any

from gateway import schedule_views, scheduled_tasks, schedules, views
from gateway.operation import Operation

_SCHEDULE = ("schedule-not-found", "store-unavailable")
_JOB = ("invalid-arguments", "unknown-task", "unknown-queue")
_BODY = (
    "malformed-json", "request-timeout", "payload-too-large", "unsupported-media-type", "invalid-submission",
    "invalid-schedule", "store-unavailable",
)  # fmt: skip  # one list
_WRITE = (*_BODY, *_JOB, "schedule-exists")
_CHANGE = (*_WRITE, "schedule-not-found", "state-conflict")
_EXAMPLE = {
    "name": "nightly report",
    "task": "tasks.file.analyze_file",
    "kwargs": {"path": "report.pdf"},
    "cron": "30 2 * * mon-fri",
    "timezone": "Europe/Berlin",
    "overlap": "skip",
}
_BACK_OFFICE_EXAMPLE = {
    "task_name": "nightly report",
    "task_path": "tasks.file.analyze_file",
    "task_type": "system",
    "task_enabled": True,
    "task_crontab_minute": "30",
    "task_crontab_hour": "2",
    "task_extra_config": {"queue": "file_tasks", "kwargs": {"path": "report.pdf"}},
}


def _operation(method: str, path: str, endpoint: Any, id: str, summary: str, answers: Any, **more: Any) -> Operation:
    answered = answers if isinstance(answers, dict) else {200: answers}
    tag = "scheduled-tasks" if "scheduled-tasks" in path else "schedules"
    return Operation(
        method=method, path=path, endpoint=endpoint, id=id, summary=summary, tag=tag, answers=answered, **more
    )


_ALL = "/api/v1/schedules"
_ONE = f"{_ALL}/{{schedule}}"
_TASKS = "/api/v1/scheduled-tasks"
_TASK = f"{_TASKS}/{{schedule}}"
_VIEW = schedule_views.ScheduleView
_TASK_VIEW = scheduled_tasks.ScheduledTaskView

SCHEDULES = (
    _operation("GET", _ALL, schedules.list_schedules, "listSchedules", "List schedules, by name",
               schedule_views.SchedulePage, query=schedule_views.ListQuery,
               problems=("invalid-parameters", "store-unavailable")),
    _operation("POST", _ALL, schedules.create, "createSchedule", "Make a schedule", {201: _VIEW},
               body=schedule_views.NewSchedule, problems=_WRITE, example=_EXAMPLE),
    _operation("GET", _ONE, schedules.read, "readSchedule", "Read a schedule", _VIEW, problems=_SCHEDULE),
    _operation("PATCH", _ONE, schedules.change, "changeSchedule", "Change fields of a schedule", _VIEW,
               body=schedule_views.ScheduleChange, problems=_CHANGE, example={"cron": "0 3 * * *"}),
    _operation("DELETE", _ONE, schedules.delete, "deleteSchedule", "Delete a schedule; its jobs stay", _VIEW,
               problems=_SCHEDULE),
    _operation("POST", f"{_ONE}/pause", schedules.pause, "pauseSchedule", "Stop firing", _VIEW, problems=_SCHEDULE),
    _operation("POST", f"{_ONE}/resume", schedules.resume, "resumeSchedule", "Fire again, from now on", _VIEW,
               problems=(*_SCHEDULE, "state-conflict")),
    _operation("POST", f"{_ONE}/run", schedules.run, "runSchedule", "Make a job of it now", {202: views.JobView},
               problems=(*_SCHEDULE, *_JOB, "invalid-submission", "state-conflict")),
    _operation("GET", f"{_ONE}/preview", schedules.preview, "previewSchedule", "The next fire times",
               schedule_views.Preview, query=schedule_views.PreviewQuery, problems=(*_SCHEDULE, "invalid-parameters")),
    _operation("GET", f"{_ONE}/fires", schedules.fires, "listFires", "What was decided about its fire times",
               schedule_views.FireList, query=schedule_views.FiresQuery, problems=(*_SCHEDULE, "invalid-parameters")),
    _operation("POST", f"{_ONE}/backfill", schedules.backfill, "backfillSchedule", "Make the jobs of past fire times",
               {202: schedule_views.BackfillView, 200: schedule_views.BackfillView}, body=schedule_views.Range,
               problems=(*_BODY, *_JOB, "schedule-not-found"),
               example={"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", "dry_run": True}),
    _operation("GET", _TASKS, scheduled_tasks.list_tasks, "listScheduledTasks", "Schedules, in the back-office's shape",
               scheduled_tasks.ScheduledTaskList, problems=("store-unavailable",)),
    _operation("POST", _TASKS, scheduled_tasks.create, "createScheduledTask", "Make a schedule", {201: _TASK_VIEW},
               body=scheduled_tasks.ScheduledTask, problems=_WRITE, example=_BACK_OFFICE_EXAMPLE),
    _operation("GET", _TASK, scheduled_tasks.read, "readScheduledTask", "Read a schedule", _TASK_VIEW,
               problems=_SCHEDULE),
    _operation("PUT", _TASK, scheduled_tasks.change, "changeScheduledTask", "Change fields of a schedule", _TASK_VIEW,
               body=scheduled_tasks.ScheduledTaskChange, problems=_CHANGE, example={"task_crontab_hour": "3"}),
    _operation("PATCH", _TASK, scheduled_tasks.change, "patchScheduledTask", "The same as PUT", _TASK_VIEW,
               body=scheduled_tasks.ScheduledTaskChange, problems=_CHANGE, example={"task_enabled": False}),
    _operation("DELETE", _TASK, scheduled_tasks.delete, "deleteScheduledTask", "Delete a schedule", _TASK_VIEW,
               problems=_SCHEDULE),
    _operation("POST", f"{_TASK}/run", schedules.run, "runScheduledTask", "Make a job of it now",
               {202: views.JobView}, problems=(*_SCHEDULE, *_JOB, "invalid-submission", "state-conflict")),
)  # fmt: skip  # a table
