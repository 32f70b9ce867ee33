"""Keeps a process that cannot start without the store alive until the store answers: a new process each time would cost
more, and learn no more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from executors import assembly
from executors.settings import Settings
from tasks.errors import JobgateError
from tasks.job import Mode

log = logging.getLogger("jobgate.worker")

#: Seconds before the first and at most between two tries.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
#: Seconds for which a process waits; Celery takes one that has not started after 30 for one that hangs.
LONGEST_WAIT = 20.0
#: Seconds between two checks whether the process is to end.
INTERVAL = 0.1


def wait_for_store(settings: Settings, error: JobgateError, ends: Callable[[], bool]) -> None:
    """Returns when the store can be opened, when `ends` says so, or after LONGEST_WAIT; `error`: why it cannot now."""
    asyncio.run(_wait(settings, error, ends))


async def _wait(settings: Settings, error: JobgateError, ends: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + LONGEST_WAIT
    reason, pause = error.detail, FIRST_PAUSE
    while time.monotonic() < give_up_at:
        log.warning("worker: a process waits for the store, next try in %g s: %s", pause, reason.splitlines()[0])
        trying = asyncio.create_task(_try(settings, pause))
        while not trying.done():
            if ends():
                trying.cancel()
                return
            await asyncio.wait({trying}, timeout=INTERVAL)
        failed = trying.result()
        if failed is None:
            return
        reason, pause = failed.detail, min(2 * pause, LONGEST_PAUSE)


async def _try(settings: Settings, pause: float) -> JobgateError | None:
    """After the pause: why the store cannot be opened, None if it can."""
    await asyncio.sleep(pause)
    try:
        store = await assembly.open_for(settings, Mode.CELERY)
    except JobgateError as error:
        return error
    await store.stop()
    return None
