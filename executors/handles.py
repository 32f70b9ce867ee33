"""The clients behind `delay()` and `Handle`: inside a process that has a loop with a store, and outside of one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from executors.control import Control
from executors.retention import expire
from tasks.errors import ConfigurationError, JobNotFound, ScheduleNotFound
from tasks.handle import Handle
from tasks.inventory import Expiry, Inventory
from tasks.job import Job, Mode, Submission
from tasks.schedule import Schedule, Spec
from tasks.store import log_lines
from tasks.store.inventory import inventory_of

T = TypeVar("T")

#: Keys of bodies are apart from those of callers over HTTP, whose names begin with no blank.
_BODIES = " body"


class LoopClient:
    """Talks to a Control that lives on a running loop, from that loop or from any other thread."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._loop = asyncio.get_running_loop()

    @property
    def mode(self) -> Mode:
        return self._control.mode

    def submit(self, submission: Submission) -> Handle:
        return Handle(self._call(self._control.submit(submission)).id)

    async def submit_async(self, submission: Submission) -> Handle:
        return Handle((await self._await(self._control.submit(submission))).id)

    async def submit_once_async(self, submission: Submission, key: str) -> Handle:
        # The key alone tells: a body that runs a second time may have other arguments by then.
        job, _ = await self._await(self._control.submit_once(submission, f"{_BODIES}:{key}", ""))
        return Handle(job.id)

    def read(self, job_id: str) -> Job | None:
        return self._call(self._control.store.get(job_id))

    async def read_async(self, job_id: str) -> Job | None:
        return await self._await(self._control.store.get(job_id))

    def wait(self, job_id: str, timeout: float | None) -> Job | None:
        return self._call(self._wait(job_id, timeout))

    async def wait_async(self, job_id: str, timeout: float | None) -> Job | None:
        return await self._await(self._wait(job_id, timeout))

    def cancel(self, job_id: str) -> Job:
        return self._call(self._control.cancel(job_id)).job

    async def cancel_async(self, job_id: str) -> Job:
        return (await self._await(self._control.cancel(job_id))).job

    async def inventory_async(self) -> Inventory:
        return await self._await(inventory_of(self._control.store))

    async def expire_async(self) -> Expiry:
        return await self._await(expire(self._control.store))

    async def schedules_async(self, task: str) -> Sequence[Schedule]:
        return await self._await(self._control.schedules.of_task(task))

    async def put_schedule_async(self, spec: Spec, enabled: bool = True) -> None:
        await self._await(self._control.schedules.put(spec, enabled))

    async def drop_schedule_async(self, name: str) -> None:
        with suppress(ScheduleNotFound):
            await self._await(self._control.schedules.delete(name))

    async def forget_logs_async(self, age: int) -> tuple[int, int]:
        return await self._await(self._forget_logs(age))

    async def _forget_logs(self, age: int) -> tuple[int, int]:
        return await log_lines.forget(self._control.store, age), await self._control.schedules.forget(age)

    async def _wait(self, job_id: str, timeout: float | None) -> Job | None:
        try:
            return await self._control.wait(job_id, math.inf if timeout is None else timeout)
        except JobNotFound:
            return None

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if _running_loop() is self._loop:
            work.close()
            raise ConfigurationError("this is the loop that would have to answer: await the …_async twin instead")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _await(self, work: Coroutine[Any, Any, T]) -> T:
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
