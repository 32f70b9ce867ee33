"""The legal moves of a job. A step out of STARTED is a value; the store applies it in one fenced UPDATE.

The other moves are made for many rows at once and live in the store's statements; `MOVES` names them all.
"""

from __future__ import annotations

from msgspec import Struct

from tasks.job import WAITING, Attempt, ErrorCode, State

#: Every legal move: name, the states it leaves, the states it may reach. `docs/states.md` draws this table.
MOVES: dict[str, tuple[frozenset[State], frozenset[State]]] = {
    "accept": (frozenset(), frozenset({State.PENDING})),
    "claim": (WAITING, frozenset({State.STARTED})),
    "succeed": (frozenset({State.STARTED}), frozenset({State.SUCCESS})),
    "fail": (frozenset({State.STARTED}), frozenset({State.FAILURE})),
    "retry": (frozenset({State.STARTED}), frozenset({State.RETRY, State.REVOKED})),
    "stop": (frozenset({State.STARTED}), frozenset({State.REVOKED})),
    "interrupt": (frozenset({State.STARTED}), frozenset({State.PENDING, State.RETRY, State.REVOKED})),
    "reap": (frozenset({State.STARTED}), frozenset({State.RETRY, State.FAILURE, State.REVOKED})),
    "cancel": (WAITING | {State.STARTED}, frozenset({State.REVOKED, State.STARTED})),
    "expire": (WAITING, frozenset({State.REVOKED})),
}


class Failure(Struct, frozen=True, kw_only=True):
    """Why an attempt did not succeed: `code`, the exception's class name, its words, its traceback."""

    code: ErrorCode
    message: str
    type: str | None = None
    trace: str | None = None


class Step(Struct, frozen=True, kw_only=True):
    """One move out of STARTED, taken only by the attempt that holds the job.

    `delay` (seconds) says when a waiting target is due; `runtime` is in seconds; `failed` is added to the job's
    failures. Use the constructors below: each fills exactly the legal combination.
    """

    name: str
    job_id: str
    attempt: int
    owner: str
    target: State
    delay: float = 0.0
    result: str | None = None
    failure: Failure | None = None
    runtime: float | None = None
    failed: int = 0


def _step(job: Attempt, name: str, target: State, **values: object) -> Step:
    return Step(name=name, job_id=job.id, attempt=job.attempt, owner=job.owner, target=target, **values)  # type: ignore[arg-type]  # each constructor below passes fields of Step


def succeed(job: Attempt, result: str, runtime: float) -> Step:
    """The task returned; `result` is its JSON text."""
    return _step(job, "succeed", State.SUCCESS, result=result, runtime=runtime)


def fail(job: Attempt, failure: Failure, runtime: float | None) -> Step:
    """The job ends in FAILURE."""
    return _step(job, "fail", State.FAILURE, failure=failure, runtime=runtime, failed=1)


def retry(job: Attempt, failure: Failure, delay: float, runtime: float) -> Step:
    """The job runs again in `delay` seconds, unless a cancel has been asked for meanwhile: then it is REVOKED."""
    return _step(job, "retry", State.RETRY, failure=failure, delay=delay, runtime=runtime, failed=1)


def stop(job: Attempt, runtime: float | None) -> Step:
    """The task stopped because a cancel was asked for."""
    failure = Failure(code=ErrorCode.CANCELLED, message="cancelled while it was running")
    return _step(job, "stop", State.REVOKED, failure=failure, runtime=runtime)


def interrupt(job: Attempt) -> Step:
    """The process is shutting down: the job goes back unharmed; no budget is used."""
    target = State.RETRY if job.failures or job.losses else State.PENDING
    return _step(job, "interrupt", target)
