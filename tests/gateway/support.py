"""A gateway over a real store, with a hand instead of an executor: it moves jobs when a test says so."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from executors.base import Capabilities, Health, Standing
from executors.control import Control
from executors.watch import Watch
from gateway.app import Gateway, GatewayOptions, create_app
from tasks import step, task
from tasks.admission import Admission, Defaults
from tasks.errors import StoreUnavailable
from tasks.job import ErrorCode, Job, Mode
from tasks.registry import Registry
from tasks.step import Failure
from tasks.store import retention
from tasks.store.backend import Query
from tasks.store.store import JobStore

NOBODY = "00000000-0000-7000-8000-000000000000"


@task(name="tests.read", queue="celery")
def read(path: str, pages: int = 1, mode: str | None = None) -> str:
    """Read a file."""
    return path


@task(name="tests.anything", queue="low", priority=3, rate_limit="10/m")
def anything(*args: Any, **kwargs: Any) -> None:
    """Take whatever comes."""


@task(name="tests.nothing")
async def nothing() -> None:
    pass


REGISTRY = Registry([read, anything, nothing])


class Hand:
    """The executor of these tests."""

    standing = Standing(setting="thread", mode=Mode.THREAD)
    capabilities = Capabilities(stop_running_sync="interrupt", stop_running_async="cooperative", hard_limit="interrupt")

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.told: list[str] = []
        self.drained = self.hurried = False
        self.busy = 0
        self.well = Health(ok=True, detail="4 slots")

    async def start(self) -> None: ...

    def drain(self) -> None:
        self.drained = True

    def hurry(self) -> None:
        self.hurried = True

    async def stop(self, grace: float) -> None: ...

    def cancel_soon(self, job: Job) -> None:
        self.told.append(job.id)

    async def health(self) -> Health:
        return self.well

    async def claim(self, job_id: str) -> Any:
        claimer = {"owner": "hand", "mode": "thread", "lease": 60_000, "grace": 10_000}
        attempt = await self.store.claim(job_id, claimer)
        assert attempt is not None
        return attempt

    async def succeed(self, job_id: str, result: Any = "done") -> None:
        await self.settle(await self.claim(job_id), result)

    async def settle(self, attempt: Any, result: Any = "done") -> None:
        await self.store.settle(step.succeed(attempt, json.dumps(result), 0.25))

    async def fail(self, job_id: str, message: str = "no such file") -> None:
        failure = Failure(code=ErrorCode.TASK_ERROR, message=message, type="FileNotFoundError", trace="Traceback …")
        await self.store.settle(step.fail(await self.claim(job_id), failure, 0.25))

    async def expire_results(self) -> None:
        bounds = {"behind": 0, "upto": 1 << 40, "age": -1000}
        await self.store.writer.run(Query(retention.EXPIRE_RESULTS, bounds))

    async def succeed_soon(self, job_id: str, seconds: float = 0.1) -> None:
        await asyncio.sleep(seconds)
        await self.succeed(job_id)


def make_control(store: JobStore, hand: Hand) -> Control:
    admission = Admission(REGISTRY, Defaults(queues=("high",)))
    return Control(store, REGISTRY, admission, Watch(store, 0.01), hand)


def make_gateway(control: Any, **options: Any) -> Gateway:
    return create_app(control, GatewayOptions(**{"readiness_age": 0.0, **options}))


class Broken:
    """A store or control of which every verb fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or StoreUnavailable()

    def __getattr__(self, name: str) -> Any:
        async def fail(*args: Any, **kwargs: Any) -> Any:
            raise self.error

        return fail
