"""Three schedulers on one record, killed and paused at the worst moments: no fire time is missed, none fires twice."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tasks.errors import StoreUnavailable
from tasks.job import Mode
from tasks.store.backend import Query, Rows
from tasks.store.schedule_store import Due, ScheduleStore
from tasks.store.store import JobStore, open_store
from tests.schedules.support import MINUTE, Town, ticker
from tests.store.support import CLOCK, START

#: More of them: `FIRE_TIMES=1000000 make test ARGS=tests/schedules/test_many_schedulers.py`.
FIRE_TIMES = int(os.environ.get("FIRE_TIMES", "10000"))
SCHEDULES = 20
#: Fire times of one schedule that come due between two looks.
STRIDE = 5


class Fate:
    """Decides by a seed when a scheduler dies or sleeps."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.kills = 0
        self.pauses = 0

    def strikes(self, share: float) -> bool:
        return self._random.random() < share

    def choice(self, several: Sequence[Any]) -> Any:
        return self._random.choice(several)


class Scheduler:
    """A process's tick: replaced by a new one when it has been killed."""

    def __init__(self, store: JobStore, name: str, fate: Fate) -> None:
        self._fate = fate
        self._transact = store._backend.transact
        store._backend.transact = self._struck  # type: ignore[method-assign]
        self.schedules = ScheduleStore(store, name)
        self._due = self.schedules.due
        self.schedules.due = self._slept_over  # type: ignore[method-assign]
        self._new = lambda: ticker(store, self.schedules)
        self._ticker = self._new()
        self.asleep = 0

    async def work(self) -> None:
        """Look until nothing is left, or death comes."""
        try:
            while await self._ticker.tick() == 0.0:
                pass
        except StoreUnavailable:
            self._ticker = self._new()

    async def _slept_over(self, limit: int) -> list[Due]:
        """Sometimes the process is stopped between its look and its write, while the others go on."""
        found = await self._due(limit)
        if found and self._fate.strikes(0.3):
            self._fate.pauses += 1
            await asyncio.sleep(self._fate.choice((0.0, 0.005, 0.02)))
        return found

    async def _struck(self, program: Sequence[Query]) -> list[Rows]:
        """Sometimes it dies before its transaction, in the middle, or before it hears of the commit."""
        if not self._fate.strikes(0.3):
            return await self._transact(program)
        self._fate.kills += 1
        when = self._fate.choice(("before", "within", "after"))
        if when == "within":
            # A statement that the database refuses: what stood before it is undone with it.
            broken = [*program[: self._fate.choice(range(len(program)))], Query("SELECT no_such_column FROM jobs")]
            with pytest.raises(Exception):  # noqa: B017, PT011 - each database has its own
                await self._transact(broken)
        elif when == "after":
            await self._transact(program)
        raise StoreUnavailable(f"killed {when}")


@pytest.fixture
async def stores(town: Town, url: str) -> AsyncIterator[list[JobStore]]:
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(3):
            store = await open_store(url, Mode.THREAD, clock=CLOCK)
            stack.push_async_callback(store.stop)
            opened.append(store)
        yield opened


@pytest.mark.slow
async def test_ten_thousand_fire_times(town: Town, stores: list[JobStore]) -> None:
    fate = Fate(seed=1511)
    schedulers = [Scheduler(store, f"scheduler {n}", fate) for n, store in enumerate(stores)]
    rows = [await town.add(f"s{n}") for n in range(SCHEDULES)]
    each = FIRE_TIMES // SCHEDULES
    for _ in range(each // STRIDE):
        await town.bench.advance(STRIDE * MINUTE)
        awake = fate.choice((schedulers, schedulers, schedulers[:2], schedulers[1:], []))
        await asyncio.gather(*(scheduler.work() for scheduler in awake))
    await town.look()  # somebody who lives, at last: what all the others left
    fired = await town.bench.sql("SELECT schedule_id, fire_at, outcome, job_id, decided_by FROM fires")
    expected = {(row.id, START + n * MINUTE) for row in rows for n in range(1, each + 1)}
    assert Counter((row[0], row[1]) for row in fired) == Counter(expected)
    assert {row[2] for row in fired} == {"fired"}
    jobs = await town.bench.sql("SELECT id, due_at FROM jobs")
    assert sorted((row[0], row[1]) for row in jobs) == sorted((row[3], row[1]) for row in fired)
    assert sum(row.fired for row in [await town.read(f"s{n}") for n in range(SCHEDULES)]) == each * SCHEDULES
    by = Counter(row[4] for row in fired)
    print(f"{len(fired)} fire times, {fate.kills} kills, {fate.pauses} pauses; decided by {dict(by)}")
    assert min(fate.kills, fate.pauses, *(by[f"scheduler {n}"] for n in range(3))) > 0
