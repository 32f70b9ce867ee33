"""The seam between the record and whatever carries jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, get_args

from msgspec import Struct

from tasks.job import Job, Mode


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a carrier can do to a job that runs; shown at `/api/v1/capabilities`, asserted by the conformance suite.

    The `stop_…` fields and `hard_limit` say how far: "process" (its process is killed), "interrupt" (an exception is
    raised in the thread, which blocking C code does not notice) or "cooperative" (only `check()` and awaits notice).
    """

    stop_running_sync: str
    stop_running_async: str
    hard_limit: str
    priorities: int = 10
    remote_workers: bool = False


class Health(Struct, frozen=True, kw_only=True):
    """Whether a carrier can carry now, and a sentence why.

    `away_since` is set while its broker does not answer: milliseconds since the epoch, on this process's clock.
    """

    ok: bool
    detail: str
    away_since: int | None = None


class Patience(Struct, frozen=True, kw_only=True):
    """How many seconds Celery's parts may be silent before they count as gone: the broker, a worker's sign of life, a
    worker's answer to a canary."""

    broker: float = 1.5
    life: float = 3.0
    canary: float = 5.0


Setting = Literal["thread", "celery", "auto"]
Code = Literal["broker", "workers", "deaf"]
#: The codes of `Trouble`.
CODES: tuple[Code, ...] = get_args(Code)


class Trouble(Struct, frozen=True, kw_only=True):
    """Why Celery carries nothing now. `code`: "broker" (away), "workers" (none lives) or "deaf" (those that live do not
    consume)."""

    code: Code
    detail: str


class Standing(Struct, frozen=True, kw_only=True):
    """Which carrier is in use, in `mode`, and which was asked for: "thread", "celery" or "auto".

    `fallback` is the code of the trouble for which threads stand in, or None; `fallbacks` counts by code how often they
    began to. `broker_up`: whether the broker answers within its time; None where no broker is used.
    """

    setting: Setting
    mode: Mode
    fallback: Code | None = None
    fallbacks: Mapping[str, int] = {}
    broker_up: bool | None = None


class Executor(Protocol):
    """Carries due jobs to a place where the runner claims, performs and settles them. That is all it does.

    The row is the truth: an executor may drop a job or carry it twice, never change it. Status is read from the store.
    """

    @property
    def standing(self) -> Standing: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def busy(self) -> int:
        """Jobs that run in this process."""

    async def start(self) -> None:
        """Begin to carry; called once."""

    def drain(self) -> None:
        """Begin nothing more; what runs goes on. Called from a signal's handler, before `stop`, or never."""

    def hurry(self) -> None:
        """After `drain`: do not wait for what runs, give it back. Called from a signal's handler, or never."""

    async def stop(self, grace: float) -> None:
        """Carry no more; let what runs finish for `grace` seconds, then give the rest back unharmed."""

    def cancel_soon(self, job: Job) -> None:
        """A hint that `job`, which runs, has been asked to stop; the row already says so."""

    async def health(self) -> Health: ...
