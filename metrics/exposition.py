"""What a scrape is answered: count what has happened, read the gauges, render."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from metrics.expected import NO_PAIRS, Expected
from metrics.instruments import Build, Carrier, Gauges, Instruments
from metrics.schedules import Schedules
from metrics.text import Families
from tasks.errors import StoreUnavailable
from tasks.repeated_warning import RepeatedWarning
from tasks.store.backend import Rows
from tasks.store.health import StoreHealth
from tasks.store.schedule_store import ScheduleReader
from tasks.store.tallies import Tallies
from tasks.worker import Worker

#: By whether the answer is OpenMetrics.
CONTENT_TYPE = {
    False: "text/plain; version=0.0.4; charset=utf-8",
    True: "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
#: Seconds for which the gauges are not read again, however many scrape.
FRESH = 2.0
#: Seconds that a scrape waits for the store before it answers with what it has.
PATIENCE = 5.0
#: Stretches of events a scrape counts at most; what lies behind that is for the next, or for whoever folds besides.
PASSES = 10

#: Schedules that a scrape reads.
MAX_READ = 10_000

_log = logging.getLogger(__name__)


class Ledger(Protocol):
    """What the eyes need of the store."""

    @property
    def engine(self) -> AsyncEngine: ...
    @property
    def health(self) -> StoreHealth: ...
    async def registry(self) -> Sequence[Worker]: ...
    async def now(self) -> int: ...
    async def look_up(self, sql: str, rows: Sequence[Sequence[Any]] | None = None, **params: Any) -> Rows: ...


class Exposition:
    """One per process and event loop. `tallies` is the process's own, if it has one that folds besides.

    `expected`: the pairs of task and queue that have counters before their first job.
    """

    def __init__(
        self,
        store: Ledger,
        build: Build,
        tallies: Tallies | None = None,
        carrier: Carrier | None = None,
        expected: Expected = NO_PAIRS,
    ) -> None:
        self._store = store
        self._schedules = ScheduleReader(store)
        self._tallies = tallies or Tallies(store.engine)
        self._instruments = Instruments(build, carrier)
        self._families = Families(expected)
        self._read_at = float("-inf")
        self._unread = RepeatedWarning(_log, "metrics: a scrape could not read the store or count its events: %s")
        self._under_way: dict[tuple[bool, bool], asyncio.Task[bytes]] = {}

    def count_unauthorized(self, refused: Mapping[str, int]) -> None:
        """Show these counts, by kind, from now on as they are at each scrape."""
        self._instruments.unauthorized = refused

    async def render(self, openmetrics: bool = False, compressed: bool = False) -> bytes:
        """The answer to a scrape; one that comes while another is under way gets the same.

        `compressed`: with gzip. Never fails for want of a store: then the gauges are left out, and
        `jobgate_collect_errors_total` grows.
        """
        kind = openmetrics, compressed
        task = self._under_way.get(kind)
        if task is None:
            page = self._compressed(openmetrics) if compressed else self._page(openmetrics)
            task = self._under_way[kind] = asyncio.create_task(page, name="jobgate-scrape")
            task.add_done_callback(lambda _: self._under_way.pop(kind))
        # Shielded: a scraper that hangs up must not take the answer from the others.
        return await asyncio.shield(task)

    async def _compressed(self, openmetrics: bool) -> bytes:
        page = await self.render(openmetrics)
        # In a thread, for it takes a millisecond for each 100 kB; the lowest level, for the higher ones gain little.
        return await asyncio.to_thread(gzip.compress, page, 1, mtime=0)

    async def _page(self, openmetrics: bool) -> bytes:
        await self._collect()
        large = await self._families.render(self._tallies.series, openmetrics)
        end = b"# EOF\n" if openmetrics else b""
        return b"".join([self._instruments.render(openmetrics), *large, end])

    async def _collect(self) -> None:
        started = time.perf_counter()
        probe = asyncio.create_task(self._store.health.write_problem(), name="jobgate-scrape-write")
        problem = None
        try:
            async with asyncio.timeout(PATIENCE):
                # A store that takes no writes counts nothing, and can still be read.
                problem = await self._count()
                await self._read_gauges()
        except (StoreUnavailable, TimeoutError) as error:
            problem = str(error) or "it took too long"
            self._instruments.gauges, self._read_at = None, float("-inf")
        if problem is not None:
            self._unread.warn(problem)
            self._instruments.collect_errors += 1
        self._instruments.counted = problem is None
        if problem is None:
            self._instruments.dropped = self._tallies.dropped
        self._instruments.writable = await probe is None
        self._instruments.store_errors = self._store.health.errors
        self._instruments.states = self._tallies.series["jobs"]
        self._instruments.collect_seconds = time.perf_counter() - started

    async def _count(self) -> str | None:
        """Counts new events; why that failed."""
        try:
            await self._tallies.fold(passes=PASSES)
        except StoreUnavailable as error:
            return str(error)
        return None

    async def _read_gauges(self) -> None:
        if time.monotonic() - self._read_at < FRESH:
            return
        schedules = Schedules(await self._schedules.counters(MAX_READ), await self._schedules.lateness())
        self._instruments.gauges = Gauges(
            due=await self._tallies.due(),
            workers=await self._store.registry(),
            now=await self._store.now(),
            uncounted=await self._tallies.uncounted(),
            schedules=schedules,
        )
        self._instruments.superseded = await self._tallies.superseded()
        self._read_at = time.monotonic()
