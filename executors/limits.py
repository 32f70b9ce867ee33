"""Rate and concurrency limits of tasks, changed while everything runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tasks.job import Attempt
from tasks.limits import interval
from tasks.registry import Registry
from tasks.store import limits
from tasks.store.backend import Query
from tasks.store.store import JobStore

#: Seconds for which a slot waits at most for a rate limit, and how often: others may start a job in the same moment.
RATE_WAIT = 0.025
RATE_TRIES = 4


class Limit(Struct, frozen=True, kw_only=True):
    """What holds for all jobs of a task together: milliseconds between two starts, and how many run at once."""

    interval: float | None
    concurrency: int | None
    overridden: bool


class Limits:
    """The verbs, over the record."""

    def __init__(self, store: JobStore, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    async def read(self, name: str) -> Limit:
        """What holds now. UnknownTask for what is not registered."""
        task = self._registry.get(name)
        rows = await self._store.run(limits.READ, name=name)
        if not rows:
            return Limit(interval=task.rate, concurrency=task.concurrency, overridden=False)
        return Limit(interval=rows[0][0] or None, concurrency=rows[0][1], overridden=bool(rows[0][2]))

    async def override(self, name: str, rate: str | float | None, concurrency: int | None) -> Limit:
        """Set both, for jobs that wait and for those to come, until `reset`; None is no limit."""
        self._registry.get(name)
        values = {"name": name, "interval": interval(rate) or 0.0, "max_running": concurrency}
        await self._store.writer.run(Query(limits.OVERRIDE, values), Query(limits.BIND, {"name": name}))
        self._store.limits_changed([name])
        return await self.read(name)

    async def reset(self, name: str) -> Limit:
        """What the code declares holds again."""
        task = self._registry.get(name)
        await self._store.run(limits.RESET, name=name, interval=task.rate or 0.0, max_running=task.concurrency)
        self._store.limits_changed([name])
        return await self.read(name)


def claim_when_open(store: JobStore, job_id: str, claimer: Mapping[str, Any]) -> Attempt | None:
    """Claims the job, in a thread outside the store's loop; its message may come early, so it waits for a rate limit
    that lets it start in a moment."""
    attempt, wait = store.claim_outside(job_id, claimer)
    for _ in range(RATE_TRIES):
        if attempt is not None or wait is None or wait > RATE_WAIT:
            break
        time.sleep(wait)
        attempt, wait = store.claim_outside(job_id, claimer)
    return attempt
