"""`@async_task`: arguments never shift, whatever `bind` is, and bodies share one loop however often they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from executors import assembly
from executors.settings import Settings
from tasks import Context, async_task
from tasks.errors import ConfigurationError, InvalidArguments
from tasks.handle import client

LOOPS: set[int] = set()


@async_task("tests.async.plain", "file_tasks", 1)
async def plain(first: int, second: str = "x") -> list[Any]:
    LOOPS.add(id(asyncio.get_running_loop()))
    return [first, second]


@async_task(name="tests.async.bound", queue="file_tasks", max_retries=2, bind=True)
async def bound(self: Context, first: int, second: str = "x") -> list[Any]:
    LOOPS.add(id(asyncio.get_running_loop()))
    return [self.request.id == self.id, first, second]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[None]:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/jobs.db", task_modules=(__name__,), threads=3, environment={}
    )
    async with assembly.gateway(settings):
        yield


@pytest.mark.usefixtures("running")
async def test_arguments_do_not_shift_and_bodies_share_a_loop() -> None:
    assert client().mode == "thread"
    for number in range(3):
        one, two = await plain.delay_async(number, second="y"), await bound.delay_async(number, "z")
        assert await one.get_async(timeout=20) == [number, "y"]
        assert await two.get_async(timeout=20) == [True, number, "z"]
    assert len(LOOPS) == 1
    assert await plain(7) == [7, "x"]
    for wrong in ((), (1, "a", 2), ("one",)):
        with pytest.raises(InvalidArguments):
            await bound.submit_async(wrong)


def test_its_options_are_those_of_a_task() -> None:
    assert (plain.name, plain.queue, plain.retry.max_retries, plain.bind) == (
        "tests.async.plain",
        "file_tasks",
        1,
        False,
    )
    assert (bound.queue, bound.retry.max_retries, bound.bind, bound.is_async) == ("file_tasks", 2, True, True)


def test_what_does_not_fit_is_told_at_import() -> None:
    def sync(first: int) -> int:
        return first

    async def shifted(self: Context, first: int) -> int:
        return first

    async def nothing() -> None: ...

    with pytest.raises(ConfigurationError, match="write `async def`"):
        async_task("t")(sync)  # type: ignore[arg-type]  # that is the fault
    with pytest.raises(ConfigurationError, match="bind=True only"):
        async_task("t")(shifted)
    with pytest.raises(ConfigurationError, match="needs a first parameter"):
        async_task("t", bind=True)(nothing)
