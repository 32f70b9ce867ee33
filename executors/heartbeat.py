"""A carrier's sign of life in the worker registry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from executors.identity import VERSION, host
from executors.keeper import Claimer
from tasks.command import Command, Outcome, Verb
from tasks.errors import JobgateError, explain
from tasks.job import Mode
from tasks.store import commands
from tasks.store.store import JobStore
from tasks.task import Task
from tasks.worker import Worker

log = logging.getLogger("jobgate.heartbeat")

#: Seconds between two signs of life.
BEAT = 1.0


class Carrier(Protocol):
    """What a heartbeat says of whom it stands for."""

    @property
    def slots(self) -> int: ...
    @property
    def busy(self) -> int: ...
    @property
    def queues(self) -> Sequence[str]: ...
    @property
    def broker(self) -> str: ...
    @property
    def abandoned(self) -> int: ...
    async def obey(self, command: Command) -> Outcome | None:
        """Do it; None where the registry will show what came of it."""


class Heartbeat:
    """Registers a carrier, shows that it lives, and strikes it off at the end.

    `heard` counts the rings that reached the process; `deaf`: a relay says that none does.
    """

    def __init__(
        self,
        store: JobStore,
        claimer: Claimer,
        name: str,
        pool: str,
        carrier: Carrier,
        registry: Iterable[Task[..., Any]],
    ) -> None:
        self._store = store
        self._claimer = claimer
        self._name = name
        self._pool = pool
        self._carrier = carrier
        self._registry = registry
        self._versions = _versions(claimer.mode)
        self._orders: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        #: The worker whose process this is; a process by itself is its own.
        self.instance = claimer.owner
        self.draining = False
        self.heard = 0
        self.deaf = False

    async def start(self) -> None:
        await self.beat()
        self._task = asyncio.create_task(self._run(), name="jobgate-heartbeat")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            with contextlib.suppress(JobgateError):
                await self._store.gone(self._claimer.owner)

    async def hear(self) -> None:
        """Answer a canary: what it was sent for is the line in the registry."""
        self.heard += 1
        if self.deaf:
            await self._store.call_deaf(self.instance, deaf=False)
        await self.beat()

    async def beat(self) -> None:
        carrier = self._carrier
        told = await self._store.beat(
            Worker(
                owner=self._claimer.owner,
                name=self._name,
                instance=self.instance,
                host=host(),
                pid=os.getpid(),
                mode=self._claimer.mode,
                pool=self._pool,
                slots=carrier.slots,
                busy=carrier.busy,
                abandoned=carrier.abandoned,
                queues=tuple(carrier.queues),
                tasks=tuple(sorted(task.name for task in self._registry)),
                version=VERSION,
                broker=carrier.broker,
                clock_at=round(time.time() * 1000),
                memory=_memory(),
                versions=self._versions,
                draining=self.draining,
                heard=self.heard,
            )
        )
        self.deaf = told.deaf
        for command in told.commands:
            order = asyncio.create_task(self._obey(command), name=f"jobgate-{command.verb}")
            self._orders.add(order)
            order.add_done_callback(self._orders.discard)

    async def _obey(self, command: Command) -> None:
        log.warning("told to %s %s", command.verb, command.argument or "")
        try:
            outcome = await self._carrier.obey(command) if command.verb in list(Verb) else _unknown(command)
        except Exception as error:  # whatever goes wrong, who asked must hear of it
            log.exception("%s could not be done", command.verb)
            outcome = Outcome(False, f"{type(error).__name__}: {explain(error, 500)}")
        if outcome is not None:
            await self.beat()  # so that who reads the outcome finds the registry in agreement
            await self._store.run(commands.FINISH, id=command.id, ok=int(outcome.ok), outcome=outcome.words)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self.beat()
            except JobgateError as error:
                log.warning("no sign of life can be given now: %s", error)
            except Exception:  # one bad beat must not make the process a dead one
                log.exception("a sign of life failed; the next one follows")


def _unknown(command: Command) -> Outcome:
    return Outcome(False, f"this release ({VERSION}) does not know {command.verb!r}: it knows {', '.join(Verb)}")


def _versions(mode: str) -> dict[str, str]:
    found = {"jobgate": VERSION, "python": platform.python_version()}
    return found | {"celery": version("celery")} if mode == Mode.CELERY else found


def _memory() -> int:
    """Resident bytes of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
