"""What half a million waiting jobs cost: the same writes on a store that holds them, and on one that is empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from random import Random
from statistics import median

from bench.ground import Ground
from bench.sheet import Sheet
from executors.keeper import Claimer
from tasks.admission import new_id
from tasks.job import Mode, NewJob
from tasks.step import succeed
from tasks.store import statements
from tasks.store.store import JobStore, open_store
from tasks.store.writer import to_attempt

WAITING = 500_000
#: Slots that claim at once; times that it is done in a round.
SLOTS = 16
CYCLES = 100
#: A queue served in the order of arrival, and one of mixed priorities: its best jobs lie all over the table.
IN_ORDER, MIXED = "celery", "mixed"
DAY = 86_400_000
_CHUNK = 5_000
_CLAIMER = Claimer(owner="bench", mode=Mode.THREAD, lease=600, grace=5)


def measure(sheet: Sheet, ground: Ground, kind: str, rounds: int) -> None:
    """Half of the jobs are delayed by a day; the others are due, in two queues that are claimed from."""
    asyncio.run(_measure(sheet, ground.database(kind), ground.database(kind), kind, rounds))


async def _measure(sheet: Sheet, empty_url: str, full_url: str, kind: str, rounds: int) -> None:
    empty, full = await open_store(empty_url, Mode.THREAD), await open_store(full_url, Mode.THREAD)
    try:
        started = time.perf_counter()
        for jobs in _crowd():
            await full.accept_many(jobs)
        sheet.add("filling with 500,000, jobs/s", kind, WAITING / (time.perf_counter() - started))
        for _ in range(rounds):
            _compare(sheet, kind, "submit", await _submit(empty), await _submit(full))
            for what, queue in (("claim", IN_ORDER), ("claim, mixed priorities", MIXED)):
                _compare(sheet, kind, what, await _claim(empty, queue), await _claim(full, queue))
    finally:
        await empty.stop()
        await full.stop()


def _compare(sheet: Sheet, kind: str, what: str, empty: float, full: float) -> None:
    sheet.add(f"{what}, 500,000 waiting / empty", kind, full / empty)
    sheet.add(f"{what}, empty store, ms", kind, empty)
    sheet.add(f"{what}, 500,000 waiting, ms", kind, full)


def _crowd() -> Iterator[list[NewJob]]:
    chance = Random(7)
    for n in range(0, WAITING, _CHUNK):
        if n < WAITING // 2:
            yield [_job(delay=DAY) for _ in range(_CHUNK)]
        elif n < WAITING * 3 // 4:
            yield [_job() for _ in range(_CHUNK)]
        else:
            yield [_job(MIXED, priority=chance.randrange(10)) for _ in range(_CHUNK)]


def _job(queue: str = IN_ORDER, priority: int = 0, delay: int = 0) -> NewJob:
    return NewJob(
        id=new_id(), task="bench.tasks.noop", queue=queue, priority=priority, arguments="[[],{}]", max_retries=3,
        max_losses=3, soft_time_limit=None, time_limit=None, delay=delay,
    )  # fmt: skip


async def _submit(store: JobStore) -> float:
    """Milliseconds until one job is accepted, the median."""
    times = []
    for _ in range(CYCLES):
        job, started = _job(delay=DAY), time.perf_counter()
        await store.accept(job)
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


async def _claim(store: JobStore, queue: str) -> float:
    """Milliseconds until a job for each slot is claimed and settled, the median."""
    times = []
    for _ in range(CYCLES):
        await store.accept_many([_job(queue) for _ in range(SLOTS)])
        started = time.perf_counter()
        rows = await store.run(statements.take([[queue]]), **_CLAIMER.params, q0=queue, n=SLOTS)
        await asyncio.gather(*(store.settle(succeed(to_attempt(row), "null", 0.0)) for row in rows))
        times.append((time.perf_counter() - started) * 1000)
    return median(times)
