"""A carrier process as it stands in the worker registry."""

from __future__ import annotations

from msgspec import Struct


class Worker(Struct, frozen=True, kw_only=True):
    """One process that claims jobs: the gateway in thread mode, a Celery child, or a Celery worker with threads.

    `owner` is unique for the process's life; `name` is shared by the children of one Celery worker
    (`celery@host`); times are milliseconds since the epoch on the store's clock.
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
    started_at: int = 0
    seen_at: int = 0
