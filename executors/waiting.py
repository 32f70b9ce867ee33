"""Why a waiting job does not start: one rule a reason, in the order in which they must be out of the way."""

from __future__ import annotations

from collections.abc import Callable

from executors.base import Health
from executors.identity import shown_owner
from executors.reason import Reason, failure_of, in_seconds, serving, shown, state_of, up
from executors.remedy import REMEDIES
from tasks.job import Job, Mode, State
from tasks.limits import key_of
from tasks.moment import moment, moment_or_none
from tasks.store.situation import MAX_AHEAD, Limit, Situation
from tasks.worker import Worker

Rule = Callable[[Situation, Health], Reason | None]


def waiting(found: Situation, carrier: Health) -> list[Reason]:
    """What keeps the job from starting; then what else is to be known; never empty."""
    reasons = [reason for rule in _RULES if (reason := rule(found, carrier)) is not None]
    blocking = [reason for reason in reasons if reason.blocking]
    return [*(blocking or [_nothing(found)]), *(reason for reason in reasons if not reason.blocking)]


def _held(found: Situation, _: Health) -> Reason | None:
    if not found.job.held:
        return None
    return Reason(
        code="held",
        detail="it is held: it does not start until it is released",
        remedy=f"POST /api/v1/jobs/{found.job.id}/release",
    )


def _failed(found: Situation, _: Health) -> Reason | None:
    job = found.job
    if job.status is not State.RETRY:
        return None
    due = job.due_at > found.now
    when = f"is not due until {in_seconds(job.due_at, found.now)}" if due else "is due"
    ended = f"failed with {failure_of(job)}" if job.error_code else "was given back by a worker that shut down"
    return Reason(
        code="waits_for_retry" if due else "failed_before",
        detail=f"attempt {job.attempt} {ended}; attempt {job.attempt + 1} {when}",
        blocking=due,
        data={
            "attempt": job.attempt,
            "error": {"code": job.error_code, "type": job.error_type, "message": job.error_message},
            "due_at": moment(job.due_at),
            "retries_left": max(0, job.max_retries - job.failures),
            "losses_left": max(0, job.max_losses - job.losses),
        },
        remedy=REMEDIES.get(job.error_code or ""),
    )


def _given_back(found: Situation, _: Health) -> Reason | None:
    job = found.job
    if job.status is not State.PENDING or job.attempt == 0:
        return None
    return Reason(
        code="given_back",
        detail=f"attempt {job.attempt} was given back unharmed by a worker that shut down; it used up no retry",
        blocking=False,
        data={"attempt": job.attempt, "given_back_by": job.finished_by and shown_owner(job.finished_by)},
    )


def _not_due(found: Situation, _: Health) -> Reason | None:
    job = found.job
    if job.status is not State.PENDING or job.due_at <= found.now:
        return None
    return Reason(
        code="not_due",
        detail=f"it is not due until {in_seconds(job.due_at, found.now)}",
        data={"due_at": moment(job.due_at)},
    )


def _rate_limited(found: Situation, _: Health) -> Reason | None:
    if found.job.held or found.job.due_at > found.now:
        return None
    rates = [(_rated_until(limit, found.now), limit) for limit in found.limits if limit.interval]
    until, limit = max(rates, key=lambda rate: rate[0], default=(0, None))
    if limit is None or until <= found.now:
        return None
    before = f", after {limit.ahead} others" if limit.ahead else ""
    return Reason(
        code="rate_limited",
        detail=f"the rate limit of {_named(limit, found.job)} lets it start at {in_seconds(until, found.now)}{before}",
        data={
            "limit": limit.name,
            "seconds_between_starts": limit.interval / 1000,
            "next_start_at": moment(max(limit.free_at, found.now)),
            "until": moment(until),
            "ahead": limit.ahead,
        },
        remedy="a higher rate_limit of the task, if what it calls allows that",
    )


def _rated_until(limit: Limit, now: int) -> int:
    return max(limit.free_at, now) + round(limit.ahead * limit.interval)


def _named(limit: Limit, job: Job) -> str:
    key = key_of(limit.name, job.task)
    return f"task {job.task}" if key is None else f"task {job.task} with concurrency key {key!r}"


def _concurrency_limited(found: Situation, _: Health) -> Reason | None:
    reached = (one for one in found.limits if one.max_running is not None and one.running >= one.max_running)
    limit = next(reached, None)
    if limit is None or not limit.holders:
        return None
    names = {worker.owner: shown(worker) for worker in found.workers}
    running = [
        {"id": one.id, "worker": names.get(one.owner) or shown_owner(one.owner), "started_at": moment(one.started_at)}
        for one in limit.holders
    ]
    first = f"{running[0]['id']} on {running[0]['worker']} since {running[0]['started_at']}"
    others = f" and {limit.running - 1} more" if limit.running > 1 else ""
    return Reason(
        code="concurrency_limited",
        detail=f"{limit.max_running} jobs of {_named(limit, found.job)} may run at once, and so many do: "
        f"{first}{others}",
        data={"limit": limit.name, "max_running": limit.max_running, "running": running},
        remedy="a higher concurrency of the task, or wait for one of these to end",
    )


def _paused(found: Situation, _: Health) -> Reason | None:
    pause = found.pause
    if pause is None:
        return None
    until = "it is resumed" if pause.until is None else in_seconds(pause.until, found.now)
    why = f": {pause.reason}" if pause.reason else ""
    return Reason(
        code="queue_paused",
        detail=f"queue {pause.queue} is paused since {in_seconds(pause.since, found.now)} until {until}{why}",
        data={
            "queue": pause.queue,
            "since": moment(pause.since),
            "until": moment_or_none(pause.until),
            "reason": pause.reason,
        },
        remedy=f"POST /api/v1/queues/{pause.queue}/resume",
    )


def _nobody_consumes(found: Situation, _: Health) -> Reason | None:
    queue = found.job.queue
    if serving(found):
        return None
    once = [worker for worker in found.workers if queue in worker.queues]
    others = sorted({name for worker in up(found) for name in worker.queues})
    last = max((worker.seen_at for worker in once), default=None)
    was = "" if last is None else f"; the last that did showed life at {in_seconds(last, found.now)}"
    deaf = ", ".join(shown(worker) for worker in once if state_of(worker, found.now) == "deaf")
    live = f"live workers serve {', '.join(others)}" if others else "no worker takes jobs"
    live = f"{deaf} lives and does not hear the broker" if deaf else live
    return Reason(
        code="nobody_consumes",
        detail=f"nobody consumes queue {queue}: {live}{was}",
        data={
            "queue": queue,
            "consumed_queues": others,
            "last_consumers": [_described(worker, found.now) for worker in once],
        },
        remedy="start a worker (python -m executors.celery_worker, or a gateway with USE_CELERY=0) that serves "
        f"{queue}: with the same TASK_MODULES and JOBGATE_QUEUES as the gateway",
    )


def _task_unknown(found: Situation, _: Health) -> Reason | None:
    task, takers = found.job.task, serving(found)
    if not takers or any(task in worker.tasks for worker in takers):
        return None
    knowing = [worker for worker in found.workers if task in worker.tasks]
    versions = ", ".join(sorted({worker.version for worker in takers}))
    known = "; ".join(f"{shown(w)}, version {w.version}, {state_of(w, found.now)}, does" for w in knowing[:5])
    return Reason(
        code="task_unknown",
        detail=f"no live worker that serves queue {found.job.queue} (version {versions}) knows task {task}; "
        f"{known or 'nor does any other'}",
        data={
            "task": task,
            "versions": sorted({worker.version for worker in takers}),
            "known_by": [_described(worker, found.now) for worker in knowing],
        },
        remedy="give workers the same TASK_MODULES as the gateway, and restart them",
    )


def _broker_away(found: Situation, carrier: Health) -> Reason | None:
    # Threads that stand in for Celery do not offer what their task keeps from them.
    threads = [worker for worker in serving(found) if worker.mode == Mode.THREAD and found.job.task in worker.tasks]
    if carrier.away_since is None or threads:
        return None
    return Reason(
        code="broker_away",
        detail=f"the broker does not answer since {in_seconds(carrier.away_since, found.now)}; "
        "the job is safe in the record and runs when the broker is back",
        data={"since": moment(carrier.away_since)},
        remedy="look at the broker, and at CELERY_BROKER_URL; the gateway's log has the error",
    )


def _behind_others(found: Situation, _: Health) -> Reason | None:
    if not found.ahead:
        return None
    slots = sum(worker.slots for worker in serving(found))
    number = f"{'at least ' if found.ahead >= MAX_AHEAD else ''}{found.ahead}"
    return Reason(
        code="behind_others",
        detail=f"{number} due jobs are served before it, by {slots} slots",
        data={"ahead": found.ahead, "at_least": found.ahead >= MAX_AHEAD, "slots": slots},
        remedy="more slots for its queue, or a higher priority at submission: a step weighs a minute of waiting",
    )


def _slots_busy(found: Situation, _: Health) -> Reason | None:
    takers = serving(found)
    slots, busy = sum(worker.slots for worker in takers), sum(worker.busy for worker in takers)
    if not takers or busy < slots:
        return None
    return Reason(
        code="slots_busy",
        detail=f"all {slots} slots that serve queue {found.job.queue} are busy",
        data={"slots": slots, "busy": busy, "workers": [shown(worker) for worker in takers]},
        remedy="more workers, or more slots a worker",
    )


def _rung(found: Situation, _: Health) -> Reason | None:
    rung_at = found.job.rung_at
    if rung_at is None:
        return None
    return Reason(
        code="rung",
        detail=f"the broker was told at {in_seconds(rung_at, found.now)}; no worker has answered yet. "
        "If a slot stays idle meanwhile, it is told again",
        blocking=False,
        data={"rung_at": moment(rung_at)},
    )


def _expires(found: Situation, _: Health) -> Reason | None:
    expires_at = found.job.expires_at
    if expires_at is None:
        return None
    return Reason(
        code="expires",
        detail=f"if it has not started by {in_seconds(expires_at, found.now)} it never will",
        blocking=False,
        data={"expires_at": moment(expires_at)},
    )


def _nothing(found: Situation) -> Reason:
    takers = serving(found)
    idle = sum(worker.slots - worker.busy for worker in takers)
    return Reason(
        code="ready",
        detail=f"nothing keeps it: it is due since {in_seconds(found.job.due_at, found.now)} and {idle} slots are free",
        blocking=False,
        data={"due_at": moment(found.job.due_at), "free_slots": idle},
        remedy="ask again in a second; if it is still so, `jobgate doctor` looks at what carries jobs",
    )


def _described(worker: Worker, now: int) -> dict[str, object]:
    return {
        "worker": shown(worker),
        "version": worker.version,
        "state": state_of(worker, now),
        "seen_at": moment(worker.seen_at),
        "queues": list(worker.queues),
    }


_RULES: tuple[Rule, ...] = (
    _held,
    _failed,
    _not_due,
    _paused,
    _nobody_consumes,
    _task_unknown,
    _broker_away,
    _concurrency_limited,
    _rate_limited,
    _slots_busy,
    _behind_others,
    _rung,
    _expires,
    _given_back,
)
