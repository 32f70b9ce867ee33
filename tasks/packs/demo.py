"""Four small tasks that show what the decorator can do: arguments with limits, async bodies, retries, progress."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from msgspec import Meta

from tasks import Context, task

#: Seconds that `demo.count` spends on each number, so that its progress can be watched.
PACE = 0.05


@task(name="demo.add", queue="default")
def add(x: int, y: int) -> int:
    """Add two whole numbers."""
    return x + y


@task(name="demo.sleep", queue="default", soft_time_limit=3600, time_limit=3660)
async def sleep(seconds: Annotated[float, Meta(ge=0, le=3600)]) -> float:
    """Wait, without holding a thread; the result is the seconds waited."""
    await asyncio.sleep(seconds)
    return seconds


@task(name="demo.fail", queue="default", bind=True, max_retries=3, retry_backoff=0.5, retry_backoff_max=2)
def fail(context: Context, times: Annotated[int, Meta(ge=0)]) -> int:
    """Fail on the first `times` attempts; the result is the attempt that succeeded. More than 3 fail for good."""
    if context.attempt <= times:
        raise RuntimeError(f"attempt {context.attempt} fails, as asked; {times} do")
    return context.attempt


@task(name="demo.count", queue="default", bind=True)
def count(context: Context, n: Annotated[int, Meta(ge=0, le=5000)]) -> int:
    """Count to `n`, twenty a second, with progress; can be cancelled between two numbers."""
    for number in range(1, n + 1):
        context.progress(number, n, f"{number} of {n}")
        time.sleep(PACE)
    context.log(f"counted to {n}")
    return n
