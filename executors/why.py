"""Why a job does not run, or did not end: reasons in the order of their weight, from the record alone.

Nothing here asks a worker or a broker: the answer is there at once, whatever is down.
"""

from __future__ import annotations

from collections.abc import Callable

from executors.base import Health
from executors.identity import shown_owner
from executors.reason import Explanation, Reason, failure_of, in_seconds, is_live, shown
from executors.remedy import REMEDIES
from executors.waiting import waiting
from tasks.job import REAPER, State
from tasks.moment import moment, moment_or_none
from tasks.store.situation import Situation
from tasks.worker import Worker

Rule = Callable[[Situation], Reason | None]


def explain(found: Situation, carrier: Health) -> Explanation:
    """The reasons. `carrier` is this process's own view of its broker."""
    if found.job.is_final:
        reasons = [_ended(found)]
    elif found.job.status is State.STARTED:
        reasons = [reason for rule in _RUNNING if (reason := rule(found)) is not None]
    else:
        reasons = waiting(found, carrier)
    return Explanation(job=found.job, now=found.now, reasons=reasons)


def _ended(found: Situation) -> Reason:
    job = found.job
    at = moment(job.finished_at or 0)
    how = "" if job.error_code is None else f": {failure_of(job)}"
    attempt = f" in attempt {job.attempt}" if job.attempt else " before any attempt"
    return Reason(
        code="ended",
        detail=f"it ended in {job.status} at {at}{attempt}{how}",
        blocking=False,
        data={
            "status": job.status,
            "finished_at": at,
            "attempt": job.attempt,
            "ended_by": job.finished_by and shown_owner(job.finished_by.removeprefix(REAPER)),
            "runtime": job.runtime,
            "error": _error(found),
            "result_expired": job.result_expired,
        },
        remedy=REMEDIES.get(job.error_code or ""),
    )


def _error(found: Situation) -> dict[str, str | None] | None:
    job = found.job
    if job.error_code is None:
        return None
    return {"code": job.error_code, "type": job.error_type, "message": job.error_message}


def _cancelling(found: Situation) -> Reason | None:
    job = found.job
    if job.cancel_requested_at is None or job.lease_until is None:
        return None
    return Reason(
        code="cancel_not_obeyed",
        detail=f"it was asked to stop at {in_seconds(job.cancel_requested_at, found.now)} and has not yet; "
        f"at {in_seconds(job.lease_until, found.now)} it is ended without its consent",
        data={"asked_at": moment(job.cancel_requested_at), "ended_by_force_at": moment(job.lease_until)},
        remedy="a task stops sooner if it calls context.check(), or awaits; JOBGATE_CANCEL_GRACE is its time",
    )


def _holder(found: Situation) -> Reason | None:
    job = found.job
    worker = next((worker for worker in found.workers if worker.owner == job.owner), None)
    if worker is not None and is_live(worker, found.now):
        return _runs(found, worker)
    seen = (
        "is not in the registry" if worker is None else f"last showed life at {in_seconds(worker.seen_at, found.now)}"
    )
    who = shown_owner(str(job.owner)) if worker is None else shown(worker)
    return Reason(
        code="worker_silent",
        detail=f"worker {who} has it since {in_seconds(job.started_at or 0, found.now)} and {seen}; "
        f"its lease ends at {in_seconds(job.lease_until or 0, found.now)}, then {_after_loss(found)}",
        data=_holding(found, worker),
        remedy="look at that worker's host and log; nothing has to be done for the job",
    )


def _runs(found: Situation, worker: Worker) -> Reason:
    job = found.job
    limit = None if job.time_limit is None else (job.started_at or 0) + round(job.time_limit * 1000)
    until = "" if limit is None else f"; its time limit ends it at {in_seconds(limit, found.now)}"
    return Reason(
        code="running",
        detail=f"worker {shown(worker)} has it since {in_seconds(job.started_at or 0, found.now)} "
        f"and last showed life at {in_seconds(worker.seen_at, found.now)}{until}",
        blocking=False,
        data={**_holding(found, worker), "time_limit_at": moment_or_none(limit)},
    )


def _holding(found: Situation, worker: Worker | None) -> dict[str, object]:
    job = found.job
    return {
        "worker": None if worker is None else worker.name,
        "host": None if worker is None else worker.host,
        "pid": None if worker is None else worker.pid,
        "owner": job.owner,
        "attempt": job.attempt,
        "started_at": moment_or_none(job.started_at),
        "seen_at": None if worker is None else moment(worker.seen_at),
        "lease_until": moment_or_none(job.lease_until),
    }


def _after_loss(found: Situation) -> str:
    job = found.job
    if job.cancel_requested_at is not None:
        return "it ends in REVOKED"
    return "another worker gets it" if job.losses < job.max_losses else "it ends in FAILURE (worker_lost)"


def _unreaped(found: Situation) -> Reason | None:
    lease_until = found.job.lease_until
    if lease_until is None or lease_until > found.now - UNREAPED_AFTER:
        return None
    return Reason(
        code="lease_over",
        detail=f"its lease ended at {in_seconds(lease_until, found.now)} and nobody has taken it back: "
        "no process looks after the record",
        data={"lease_until": moment(lease_until)},
        remedy="start a gateway or the scheduler (python -m executors.scheduler): each looks every half second",
    )


#: Milliseconds after which somebody should have reaped an attempt whose lease is over.
UNREAPED_AFTER = 3_000

_RUNNING: tuple[Rule, ...] = (_unreaped, _cancelling, _holder)
