"""A carrier process as it stands in the worker registry."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

#: A carrier that has not shown life for so many milliseconds counts as lost.
WORKER_TTL = 10_000


class Worker(Struct, frozen=True, kw_only=True):
    """One process that claims jobs: the gateway in thread mode, a Celery child, or a Celery worker with threads.

    `owner` is unique for the process's life. `instance` identifies the worker: its children share it, and it stays when
    the worker executes itself again; `name` is what people call it (`celery@host`). Times are milliseconds since the
    epoch on the store's clock, but for `clock_at`: its own clock's, when it was `seen_at`; 0 where it is not known.
    `broker` is where it listens, without credentials, "" for nowhere. `heard` counts the messages that reached the
    process; `deaf`: it showed life, but did not answer one that was for it. `memory` is resident bytes, `abandoned` how
    many threads were given up with a body that could not be ended.
    """

    owner: str
    name: str
    host: str
    pid: int
    mode: str
    pool: str
    slots: int
    busy: int
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    version: str
    draining: bool
    instance: str = ""
    broker: str = ""
    memory: int = 0
    versions: dict[str, str] = {}
    clock_at: int = 0
    started_at: int = 0
    seen_at: int = 0
    heard: int = 0
    abandoned: int = 0
    deaf: bool = False

    @property
    def consumes(self) -> bool:
        """Whether it takes jobs from its queues: it neither drains nor left a message that was for it unanswered."""
        return not self.draining and not self.deaf


class WorkerState(StrEnum):
    """How a process stands. DOWN: it lives, and was told to run nothing."""

    UP = "up"
    DRAINING = "draining"
    DOWN = "down"
    DEAF = "deaf"
    LOST = "lost"


def worker_state(worker: Worker, now: int) -> WorkerState:
    """As of `now`, on the store's clock."""
    if worker.seen_at < now - WORKER_TTL:
        return WorkerState.LOST
    if worker.draining and worker.slots == 0:
        return WorkerState.DOWN
    if worker.draining:
        return WorkerState.DRAINING
    return WorkerState.DEAF if worker.deaf else WorkerState.UP
