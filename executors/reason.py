"""Why a job does not run or did not end, as values; `why` finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tasks.job import Job
from tasks.moment import moment
from tasks.store.situation import Situation
from tasks.worker import WORKER_TTL, Worker, worker_state


class Reason(Struct, frozen=True, kw_only=True):
    """`code` is for machines, `detail` a sentence with the figures of `data`, `remedy` what to do about it.

    `blocking` says whether it keeps the job from going on now, or only explains how it stands.
    """

    code: str
    detail: str
    blocking: bool = True
    data: Mapping[str, Any] = {}
    remedy: str | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """The reasons at `now`, what weighs most first; never empty."""

    job: Job
    now: int
    reasons: Sequence[Reason]


def shown(worker: Worker) -> str:
    """As people know it."""
    return f"{worker.name} (pid {worker.pid})"


def is_live(worker: Worker, now: int) -> bool:
    return worker.seen_at >= now - WORKER_TTL


def state_of(worker: Worker, now: int) -> str:
    """One of `tasks.worker.WorkerState`."""
    return worker_state(worker, now)


def up(found: Situation) -> list[Worker]:
    """The workers that take jobs now."""
    return [worker for worker in found.workers if worker.slots and state_of(worker, found.now) == "up"]


def serving(found: Situation) -> list[Worker]:
    """Those of them that take jobs from this job's queue."""
    return [worker for worker in up(found) if found.job.queue in worker.queues]


def failure_of(job: Job) -> str:
    """How its last attempt failed, in words."""
    named = f"{job.error_type}: {job.error_message}" if job.error_type else job.error_message or "no words"
    return f"{named} ({job.error_code})"


def in_seconds(then: int, now: int) -> str:
    """A moment, and how far from now it is."""
    seconds = (then - now) / 1000
    return f"{moment(then)} ({f'in {seconds:.1f} s' if seconds >= 0 else f'{-seconds:.1f} s ago'})"
