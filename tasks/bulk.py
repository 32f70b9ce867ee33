"""The bulk action: one verb for all jobs of a filter."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from tasks.job import FINAL, WAITING, State


class Action(StrEnum):
    """What is done to each job. PURGE cancels what waits and leaves alone what runs; MOVE needs a target queue."""

    CANCEL = "cancel"
    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    DELETE = "delete"
    PURGE = "purge"
    MOVE = "move"


#: The states in which a job can be the object of an action; others are never visited.
STATES: Mapping[Action, frozenset[State]] = {
    Action.CANCEL: WAITING | {State.STARTED},
    Action.RETRY: FINAL,
    Action.HOLD: WAITING,
    Action.RELEASE: WAITING,
    Action.DELETE: FINAL,
    Action.PURGE: WAITING,
    Action.MOVE: WAITING,
}


class Bulk(Struct, frozen=True, kw_only=True):
    """An action as it stands. `filter` is a Filter's JSON, `cursor` the id below which jobs are still to be visited.

    Of the jobs visited `done` were changed, `skipped` had changed by themselves meanwhile, `failed` were refused, the
    last one with `message`. `total` counts the jobs that fitted at the start; it grows with those that came to fit
    since, and is the number of jobs visited once the action is done. Times are milliseconds since the epoch.
    """

    id: str
    action: Action
    filter: str
    target: str | None
    state: str
    total: int
    done: int
    skipped: int
    failed: int
    message: str | None
    cursor: str
    created_at: int
    finished_at: int | None
