"""What a worker is told to do."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct


class Verb(StrEnum):
    """RESTART and SHUTDOWN let what runs end, within the drain time; what is left then goes back unharmed."""

    RESTART = "restart"
    SHUTDOWN = "shutdown"
    GROW = "grow"
    SHRINK = "shrink"
    CONSUME = "consume"
    LEAVE = "leave"


_VERBS = {str(verb): verb for verb in Verb}


class Command(Struct, frozen=True, kw_only=True):
    """One verb for one worker, and what came of it. `argument` is a number of slots or a queue.

    `verb` is a Verb, if it is not one of another release.

    `target` is a Celery worker's instance or a gateway's owner, `worker` its name. Times are milliseconds since the
    epoch; `taken_at` is when the worker began, `outcome` its own words, `ok` whether it did what it was told.
    """

    id: str
    target: str
    worker: str
    verb: str
    argument: str | None
    asked_at: int
    taken_at: int | None = None
    taken_by: str | None = None
    finished_at: int | None = None
    ok: bool | None = None
    outcome: str | None = None


def to_command(row: Sequence[Any]) -> Command:
    """A row whose columns are the fields, in order."""
    values = dict(zip(Command.__struct_fields__, row, strict=True))
    values["ok"] = None if values["ok"] is None else bool(values["ok"])
    values["verb"] = _VERBS.get(values["verb"], values["verb"])
    return Command(**values)


class Outcome(NamedTuple):
    """Whether a worker did what it was told, and its own words."""

    ok: bool
    words: str


class Told(NamedTuple):
    """What a carrier hears when it shows life: whether it has been called deaf, and what it alone is to do."""

    deaf: bool
    commands: Sequence[Command]
