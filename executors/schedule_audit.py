"""Why a schedule does not fire, or fires at another time than was meant; pure."""

from __future__ import annotations

from collections.abc import Iterator

from executors.facts import Facts
from executors.finding import Finding, Severity
from executors.reason import in_seconds
from tasks.inventory import Inventory, Planned
from tasks.moment import moment

#: Milliseconds by which a fire time may be late.
LATE = 10_000


def schedule_audit(facts: Facts) -> Iterator[Finding]:
    """What is wrong with schedules."""
    if facts.record is None:
        return
    yield from _overdue(facts.record)
    for planned in facts.record.schedules:
        yield from _stopped(planned)
        yield from _elsewhere(planned, facts.settings.timezone)


def _overdue(record: Inventory) -> Iterator[Finding]:
    late = {
        planned.name: planned.next_at
        for planned in record.schedules
        if planned.enabled and planned.next_at is not None and planned.next_at < record.now - LATE
    }
    if late:
        name, since = min(late.items(), key=lambda item: item[1])
        yield Finding(
            code="schedules_overdue",
            severity=Severity.ERROR,
            detail=f"{len(late)} schedules should have fired, {name} at {in_seconds(since, record.now)}: no process "
            "fires schedules",
            done="what was missed is caught up within each schedule's catch_up",
            remedy="start the scheduler (python -m executors.scheduler) or a gateway; if one runs, its log says what "
            "keeps it",
            data={"schedules": sorted(late), "since": moment(since)},
        )


def _stopped(planned: Planned) -> Iterator[Finding]:
    if planned.paused == "failures":
        yield Finding(
            code="schedule_paused",
            severity=Severity.WARNING,
            detail=f"schedule {planned.name} has paused itself: its jobs failed pause_after times in a row",
            remedy=f"mend the task, then POST /api/v1/schedules/{planned.name}/resume",
            data={"schedule": planned.name},
        )
    if planned.error is not None:
        yield Finding(
            code="schedule_broken",
            severity=Severity.WARNING,
            detail=f"schedule {planned.name} could not make its last job: {planned.error}",
            remedy=f"PATCH /api/v1/schedules/{planned.name}, or give every process the same TASK_MODULES",
            data={"schedule": planned.name, "error": planned.error},
        )


def _elsewhere(planned: Planned, zone: str) -> Iterator[Finding]:
    if planned.cron and planned.enabled and planned.timezone != zone:
        yield Finding(
            code="schedule_zone",
            severity=Severity.NOTE,
            detail=f"schedule {planned.name} goes by the clock of {planned.timezone}, and CELERY_TIMEZONE is {zone}"
            + ("" if planned.next_at is None else f"; it fires next at {moment(planned.next_at)}"),
            remedy="none, if that is meant; else PATCH its timezone: a change of CELERY_TIMEZONE does not change "
            "schedules that stand",
            data={"schedule": planned.name, "timezone": planned.timezone, "deployment": zone},
        )
