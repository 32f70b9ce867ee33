"""What a worker is told to do."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Verb(StrEnum):
    """RESTART and SHUTDOWN let what runs end, within the drain time; what is left then goes back unharmed."""

    RESTART = "restart"
    SHUTDOWN = "shutdown"
    GROW = "grow"
    SHRINK = "shrink"
    CONSUME = "consume"
    LEAVE = "leave"


class Command(Struct, frozen=True, kw_only=True):
    """One verb for one worker, and what came of it. `argument` is a number of slots or a queue.

    `target` is a Celery worker's name or a gateway's owner. Times are milliseconds since the epoch; `taken_at` is
    when the worker began, `outcome` its own words, `ok` whether it did what it was told.
    """

    id: str
    target: str
    verb: Verb
    argument: str | None
    asked_at: int
    taken_at: int | None = None
    taken_by: str | None = None
    finished_at: int | None = None
    ok: bool | None = None
    outcome: str | None = None
