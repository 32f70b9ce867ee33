"""A carrier process as it stands in the worker registry."""

from __future__ import annotations

from msgspec import Struct


class Worker(Struct, frozen=True, kw_only=True):
    """One process that claims jobs: the gateway in thread mode, a Celery child, or a Celery worker with threads.

    `owner` is unique for the process's life; `name` is shared by the children of one Celery worker
    (`celery@host`); times are milliseconds since the epoch on the store's clock, but for `clock_at`: its own clock's,
    when it was `seen_at`; 0 where it is not known. `broker` is where it listens, without credentials, "" for nowhere.
    `heard` counts the rings that reached the process; `deaf`: it showed life, but did not answer one that was for it.
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
    broker: str = ""
    clock_at: int = 0
    started_at: int = 0
    seen_at: int = 0
    heard: int = 0
    deaf: bool = False
