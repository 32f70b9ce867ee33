"""Schedules on a bench: made, ticked and looked at."""

from __future__ import annotations

from typing import Any

from executors.ticker import Ticker
from tasks import task
from tasks.admission import Admission, Defaults
from tasks.registry import Registry
from tasks.schedule import Schedule, Spec, rule_of
from tasks.store.schedule_store import Past, ScheduleStore
from tasks.store.store import JobStore
from tests.store.support import Bench

MINUTE = 60_000
NEVER_MIND = 1_000_000.0


@task(name="tests.tick", queue="q")
def tick(n: int = 0) -> int:
    return n


ADMISSION = Admission(Registry([tick]), Defaults())


class Town:
    """A bench with a clock tower."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.store = bench.store
        self.schedules = ScheduleStore(bench.store, "tower")
        self.ticker = ticker(bench.store, self.schedules)

    async def add(self, name: str = "s", **fields: Any) -> Schedule:
        """A schedule of one minute, if `fields` do not say otherwise, from now on."""
        when = {} if fields.keys() & {"cron", "every", "at"} else {"every": 60.0}
        spec = Spec(**{"name": name, "task": "tests.tick", **when, **fields})
        anchor = self.bench.now
        found = rule_of(spec, anchor).after(anchor)
        row = await self.schedules.add(
            spec, declared=None, origin="operator", enabled=True, anchor=anchor, next_at=found and found.at
        )
        assert row is not None
        return row

    async def read(self, name: str = "s") -> Schedule:
        row = await self.schedules.get(name)
        assert row is not None
        return row

    async def pass_minutes(self, count: float = 1) -> None:
        """Let them pass at once, then look."""
        await self.bench.advance(round(count * MINUTE))
        await self.look()

    async def look(self) -> None:
        while await self.ticker.tick() == 0.0:
            pass

    async def past(self, name: str = "s") -> list[Past]:
        """What was decided, oldest first."""
        return (await self.schedules.history((await self.read(name)).id, 1000))[::-1]

    async def outcomes(self, name: str = "s") -> list[str]:
        return [past.outcome for past in await self.past(name)]

    async def jobs(self) -> list[dict[str, Any]]:
        rows = await self.bench.sql("SELECT * FROM jobs ORDER BY due_at, number")
        return [dict(row._mapping) for row in rows]


def ticker(store: JobStore, schedules: ScheduleStore) -> Ticker:
    return Ticker(store, schedules, ADMISSION, NEVER_MIND, 1.0)
