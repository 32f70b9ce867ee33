"""A carrier's sign of life in the worker registry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from executors.identity import VERSION, host
from executors.keeper import Claimer
from tasks.errors import JobgateError
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
        self._tasks = tuple(sorted(task.name for task in registry))
        self._task: asyncio.Task[None] | None = None
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

    async def beat(self) -> None:
        carrier = self._carrier
        self.deaf = await self._store.beat(
            Worker(
                owner=self._claimer.owner,
                name=self._name,
                host=host(),
                pid=os.getpid(),
                mode=self._claimer.mode,
                pool=self._pool,
                slots=carrier.slots,
                busy=carrier.busy,
                queues=tuple(carrier.queues),
                tasks=self._tasks,
                version=VERSION,
                broker=carrier.broker,
                clock_at=round(time.time() * 1000),
                draining=self.draining,
                heard=self.heard,
            )
        )

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self.beat()
            except JobgateError as error:
                log.warning("no sign of life can be given now: %s", error)
