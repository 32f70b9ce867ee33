"""Where rows, broker and workers disagree; pure."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator

from executors.facts import OVERDUE, Facts, names, up
from executors.finding import Finding, Severity
from executors.identity import VERSION
from executors.reason import in_seconds, is_live, shown
from tasks.inventory import Inventory
from tasks.moment import moment, moment_or_none

Rule = Callable[[Facts, Inventory], Iterator[Finding]]


_START = "start a worker (python -m executors.celery_worker), or in thread mode the gateway (python -m gateway)"
_SAME = "give workers the same TASK_MODULES as the gateway, and restart them"


def drift(facts: Facts) -> Iterator[Finding]:
    """What disagrees."""
    if facts.record is not None:
        for rule in _RULES:
            yield from rule(facts, facts.record)


def _no_workers(facts: Facts, record: Inventory) -> Iterator[Finding]:
    if up(record):
        return
    due = sum(waiting.due for waiting in record.waiting)
    last = max(record.workers, key=lambda worker: worker.seen_at, default=None)
    seen = (
        ""
        if last is None
        else f"; the last was {shown(last)} on {last.host}, at {in_seconds(last.seen_at, record.now)}"
    )
    yield Finding(
        code="no_workers",
        severity=Severity.ERROR if due else Severity.WARNING,
        detail=f"nobody takes jobs, and {due} are due{seen}",
        done="jobs are accepted, and wait in the record",
        remedy=_START,
        data={"due": due},
    )


def _unconsumed(facts: Facts, record: Inventory) -> Iterator[Finding]:
    served = {queue for worker in up(record) for queue in worker.queues}
    waiting = defaultdict(list)
    for found in record.waiting:
        if found.due and served and found.queue not in {*served, *record.paused}:
            waiting[found.queue].append(found)
    for queue, parts in waiting.items():
        jobs, since = sum(part.due for part in parts), min(part.due_since or record.now for part in parts)
        near = difflib.get_close_matches(queue, sorted(served), n=1)
        meant = f"; was {near[0]} meant?" if near else ""
        yield Finding(
            code="queue_unconsumed",
            severity=Severity.ERROR,
            detail=f"{jobs} due jobs wait in queue {queue} since {in_seconds(since, record.now)}, which nobody "
            f"consumes: live workers serve {', '.join(sorted(served))}{meant}",
            remedy=f"start a worker with {queue} in its JOBGATE_QUEUES, or submit to a queue that is served",
            data={"queue": queue, "due": jobs, "since": moment(since), "served": sorted(served)},
        )


def _unserved(facts: Facts, record: Inventory) -> Iterator[Finding]:
    served = {queue for worker in up(record) for queue in worker.queues}
    idle = sorted({*facts.queues} - served - {found.queue for found in record.waiting if found.due})
    if served and idle:
        yield Finding(
            code="queue_unserved",
            severity=Severity.WARNING,
            detail=f"jobs may be sent to {', '.join(idle)}, and no live worker serves that",
            remedy="give gateway and workers the same JOBGATE_QUEUES and TASK_MODULES",
            data={"queues": idle},
        )


def _task_unknown(facts: Facts, record: Inventory) -> Iterator[Finding]:
    for found in record.waiting:
        takers = [worker for worker in up(record) if found.queue in worker.queues]
        if takers and not any(found.task in worker.tasks for worker in takers):
            yield Finding(
                code="task_unknown",
                severity=Severity.ERROR,
                detail=f"{found.jobs} jobs of task {found.task} wait in queue {found.queue}, and none of the workers "
                f"that serve it ({names(takers)}) knows the task",
                done="they wait for one that does, for JOBGATE_UNKNOWN_TASK_PATIENCE, then fail with unknown_task",
                remedy=_SAME,
                data={"task": found.task, "queue": found.queue, "jobs": found.jobs, "example": found.example},
            )


def _unregistered(facts: Facts, record: Inventory) -> Iterator[Finding]:
    known = {task for worker in up(record) for task in worker.tasks}
    missing = sorted(task.name for task in facts.registry if task.name not in known)
    if known and missing:
        yield Finding(
            code="task_unregistered",
            severity=Severity.WARNING,
            detail=f"{', '.join(missing[:10])} can be asked for, and no live worker has registered it",
            remedy=_SAME,
            data={"tasks": missing},
        )


def _versions(facts: Facts, record: Inventory) -> Iterator[Finding]:
    versions = {worker.version for worker in up(record)} | {VERSION}
    if len(versions) > 1:
        yield Finding(
            code="versions_differ",
            severity=Severity.WARNING,
            detail=f"processes of versions {', '.join(sorted(versions))} share one record",
            remedy="restart those that were left behind",
            data={"versions": sorted(versions)},
        )


def _stale(facts: Facts, record: Inventory) -> Iterator[Finding]:
    held = {holding.owner: holding for holding in record.running}
    for worker in record.workers:
        if is_live(worker, record.now):
            continue
        holding = held.get(worker.owner)
        jobs = holding.jobs if holding else 0
        yield Finding(
            code="worker_stale",
            severity=Severity.WARNING if jobs else Severity.NOTE,
            detail=f"worker {shown(worker)} on {worker.host} showed no life since "
            f"{in_seconds(worker.seen_at, record.now)}; it holds {jobs} jobs",
            done="its jobs go to others when their leases end; it is struck off after an hour",
            remedy=f"look at {worker.host}: was it killed, is it stopped, can it reach the database?",
            data={"worker": worker.name, "pid": worker.pid, "seen_at": moment(worker.seen_at), "jobs": jobs},
        )


def _upkeep(facts: Facts, record: Inventory) -> Iterator[Finding]:
    lease = min((holding.lease_until for holding in record.running), default=None)
    moments = {
        "a lease ended": lease,
        "a delayed job came due": record.unstaged_since,
        "a job expired": record.unexpired_since,
    }
    over = {what: at for what, at in moments.items() if at is not None and at < record.now - OVERDUE}
    if over:
        shown_all = ", ".join(f"{what} at {in_seconds(max(at, 0), record.now)}" for what, at in over.items())
        yield Finding(
            code="upkeep_absent",
            severity=Severity.ERROR,
            detail=f"{shown_all}, and nobody has seen to it: no process looks after the record",
            remedy="start the scheduler (python -m executors.scheduler) or a gateway; if one runs, its log says what "
            "keeps it",
        )


def _paused(facts: Facts, record: Inventory) -> Iterator[Finding]:
    for queue, until in record.paused.items():
        due = sum(found.due for found in record.waiting if found.queue == queue)
        end = "it is resumed" if until is None else in_seconds(until, record.now)
        yield Finding(
            code="queue_paused",
            severity=Severity.NOTE,
            detail=f"queue {queue} is paused until {end}; {due} due jobs wait in it",
            remedy=f"POST /api/v1/queues/{queue}/resume, when it has served its purpose",
            data={"queue": queue, "due": due, "until": moment_or_none(until)},
        )


_RULES: tuple[Rule, ...] = (
    _no_workers,
    _unconsumed,
    _task_unknown,
    _paused,
    _upkeep,
    _unserved,
    _unregistered,
    _versions,
    _stale,
)
