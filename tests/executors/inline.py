"""The smallest executor there can be: one job at a time, on the loop itself."""

from __future__ import annotations

import asyncio
import contextlib

from executors.base import Capabilities, Health, Standing
from executors.plugged import Parts
from tasks.context import Context
from tasks.job import Job, Mode
from tasks.store.writer import to_attempt


class Inline:
    standing = Standing(setting="thread", mode=Mode.THREAD)
    capabilities = Capabilities(
        stop_running_sync="cooperative", stop_running_async="cooperative", hard_limit="cooperative"
    )

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._queues = [list(group) for group in parts.queues]
        self.busy = 0

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def drain(self) -> None:
        self._task.cancel()

    def hurry(self) -> None: ...

    async def stop(self, grace: float) -> None:
        self.drain()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def cancel_soon(self, job: Job) -> None: ...

    async def health(self) -> Health:
        return Health(ok=True, detail="inline")

    async def _run(self) -> None:
        store = self._parts.store
        while True:
            for row in await store.take(self._queues, 1, self._parts.claimer.params):
                attempt = to_attempt(row)
                await store.settle(self._parts.runner.perform(attempt, Context(attempt), lambda call: call()))
            await asyncio.sleep(0.01)
