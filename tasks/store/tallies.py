"""Counters and histograms, counted from the events: each event once, whoever counts, across restarts and replicas.

A pass groups a stretch of events in the database, without a lock; then one short transaction moves the cursor, by a
compare-and-set on where it stood, and adds the groups to the table. Who loses that race has changed nothing.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tasks.errors import StoreUnavailable
from tasks.job import State
from tasks.store.guards import CLOCK, MOVED
from tasks.store.series_limit import Pair, SeriesLimit
from tasks.store.statements import due
from tasks.store.stretch import MAX_NAME, ORDER, counted, stretch_of, uncounted
from tasks.store.unseen_series import UnseenSeries

#: Events that are counted no further when they are only to be told how many wait to be counted.
MAX_UNCOUNTED = 10_000
#: Seconds between two looks for counters that have had no event for long.
FORGET_INTERVAL = 3600.0

#: Events a pass: few enough that the transaction which adds its groups stays a matter of milliseconds.
STRETCH = 5_000
#: Passes a call, so that whoever asked is answered even while a million events lie behind.
PASSES = 100

#: The series of one task and queue, by label (a bucket's bound, an exception's class, a state, or ""): count and sum.
#: Never changed but replaced, so that `is` tells whether something was counted.
Series = Mapping[str, tuple[int, float]]
Key = tuple[str, str, str, str]


class Position(NamedTuple):
    txid: int
    seq: int


_CURSOR = text("SELECT txid, seq FROM cursors WHERE name = 'tallies'")
_BEGIN = text("INSERT INTO cursors (name, txid, seq) VALUES ('tallies', 0, 0) ON CONFLICT (name) DO NOTHING")
# On PostgreSQL the row's lock makes a second folder wait here, and then find that the cursor is not where it was.
_MOVE = text(
    "UPDATE cursors SET txid = :end_txid, seq = :end_seq WHERE name = 'tallies' AND txid = :txid AND seq = :seq"
)
_READ = text("SELECT name, task, queue, label, count, total FROM tallies")
# Reads the index of due jobs, and nothing of those that are delayed, held, running or have ended.
_DUE = "SELECT queue, count(*), ({clock} - min(due_at)) / 1000.0 FROM {due} GROUP BY queue"
# `value` is one of the JSON lists [name, task, queue, label, count, total]: one statement, so that the lock is short.
#: The one tally that no event tells of: an outcome that came too late, and was refused.
SUPERSEDED = """INSERT INTO tallies (name, task, queue, label, count, total) VALUES ('superseded', '', '', '', 1, 0)
    ON CONFLICT (name, task, queue, label) DO UPDATE SET count = tallies.count + 1"""
_SUPERSEDED = text("SELECT count FROM tallies WHERE name = 'superseded'")
_ADD = """INSERT INTO tallies (name, task, queue, label, count, total, seen_at)
    SELECT value->>0, value->>1, value->>2, value->>3, CAST(value->>4 AS BIGINT), CAST(value->>5 AS DOUBLE PRECISION),
        {clock}
    FROM {rows} WHERE true ON CONFLICT (name, task, queue, label)
    DO UPDATE SET count = tallies.count + excluded.count, total = tallies.total + excluded.total,
        seen_at = excluded.seen_at"""


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"the tallies cannot be read now: {type(error).__name__}") from error


class Tallies:
    """The table, mirrored in memory while nobody else folds. One per process and event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        order = ORDER[engine.dialect.name]
        self._before = order.first
        self._stretch = text(stretch_of(order))
        self._add = text(_ADD.format(rows=order.rows, clock=CLOCK[engine.dialect.name]))
        self._uncounted = text(uncounted(order, CLOCK[engine.dialect.name]))
        self._due = text(_DUE.format(clock=CLOCK[engine.dialect.name], due=due("queue, due_at")))
        self._turn = asyncio.Lock()
        #: Where the mirror stands; None while it may differ from the table.
        self._position: Position | None = None
        #: Which names have series of their own.
        self.limit = SeriesLimit()
        self._unseen: UnseenSeries | None = None
        self._forgot_at = float("-inf")
        #: `series[name][task, queue]`; read it after `fold` or `read`, change nothing in it.
        self.series: dict[str, dict[Pair, Series]] = defaultdict(dict)

    def forget_after(self, age: int) -> None:
        """Lets `fold` delete the counters of pairs without an event for so many milliseconds."""
        self._unseen = UnseenSeries(self._engine.dialect.name, age)

    @property
    def dropped(self) -> int:
        """The number of events that counted as `other`, in any process; read it after `fold` or `read`."""
        return self.series["dropped"].get(("", ""), {}).get("", (0, 0.0))[0]

    async def fold(self, stretch: int = STRETCH, passes: int = PASSES) -> int:
        """Count the events that nobody has counted yet; how many this call did. Leaves `series` up to date.

        Raises StoreUnavailable; what was committed until then is counted, and counted once.
        """
        folded = 0
        async with self._turn:
            for _ in range(passes):
                counted = await self._pass(stretch)
                if counted == 0:
                    break
                folded += counted or 0
        return folded

    async def read(self) -> Mapping[str, Mapping[Pair, Series]]:
        """`series`, as the table is now."""
        with _answering():
            async with self._turn, self._engine.connect() as connection:
                await self._reflect(connection)
        return self.series

    async def totals(self) -> dict[State, int]:
        """How many jobs are in each state, of all that were ever accepted, whether their rows are kept or cleaned up.

        As of the last counted event, all states at one instant: their sum is the number of jobs ever accepted.
        """
        await self.fold()
        queues = self.series["jobs"].values()
        return {state: sum(series.get(state, (0, 0.0))[0] for series in queues) for state in State}

    async def due(self) -> dict[str, tuple[int, float]]:
        """By queue: how many jobs are due and wait for a slot, and for how many seconds the oldest has been due."""
        with _answering():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(self._due)).all()
        return {queue: (number, max(0.0, float(age))) for queue, number, age in rows}

    async def uncounted(self) -> tuple[int, float]:
        """How many events nobody has counted, MAX_UNCOUNTED at most, and the age of the oldest in seconds."""
        with _answering():
            async with self._engine.connect() as connection:
                position = await self._cursor(connection)
                if self._before:
                    await connection.execute(text(self._before))
                found = await connection.execute(self._uncounted, {**position._asdict(), "limit": MAX_UNCOUNTED})
                number, age = found.one()
        return number, max(0.0, float(age))

    async def superseded(self) -> int:
        """How many outcomes came too late and were refused, in any process."""
        with _answering():
            async with self._engine.connect() as connection:
                return (await connection.execute(_SUPERSEDED)).scalar() or 0

    async def _pass(self, stretch: int) -> int | None:
        """The number of events counted: 0 when there are none, None when somebody else was faster."""
        with _answering():
            found = await self._next(stretch)
            if found is None:
                return 0
            move, groups = found
            # From here on the mirror's names may be ahead of the table: whatever goes wrong, it is read anew.
            self._position = None
            added = self._added(groups)
            stale = await self._has_unseen()
            if not await self._commit(move, added, stale):
                return None
            self._forgot_at = time.monotonic() if stale is not None else self._forgot_at
        self.limit.report()
        if stale is None:
            self._mirror(added)
            self._position = Position(move["end_txid"], move["end_seq"])
        return sum(int(group.number) for group in groups)

    async def _next(self, limit: int) -> tuple[dict[str, int], Sequence[Row[Any]]] | None:
        """The move of the cursor over the next stretch of events, and its groups; None when all are counted."""
        async with self._engine.connect() as connection:
            if self._before:
                await connection.execute(text(self._before))
            while True:
                start = (self._position or await self._reflect(connection))._asdict()
                groups = (await connection.execute(self._stretch, {**start, "limit": limit})).all()
                if groups and (groups[0].txid, groups[0].seq) == self._position:
                    break
                # Somebody else has folded: what the mirror shows, and so the stretch, is behind.
                self._position = None
        first = groups[0]
        if first.end_seq is None:
            return None
        return {**start, "end_txid": first.end_txid, "end_seq": first.end_seq}, groups

    async def _has_unseen(self) -> UnseenSeries | None:
        """What this pass has to delete, if it is time and there is anything."""
        unseen = self._unseen
        if unseen is None or time.monotonic() - self._forgot_at < FORGET_INTERVAL:
            return None
        async with self._engine.connect() as connection:
            if await unseen.found(connection, self.limit.expected):
                return unseen
        self._forgot_at = time.monotonic()
        return None

    async def _commit(
        self, move: Mapping[str, int], added: Mapping[Key, tuple[int, float]], stale: UnseenSeries | None
    ) -> bool:
        # In one order, so that two transactions can never wait for each other's rows.
        rows = msgspec.json.encode([(*key, *value) for key, value in sorted(added.items())]).decode()
        async with self._engine.begin() as connection:
            # First, so that SQLite takes its writing lock before it has read anything that could be stale.
            if (await connection.execute(_MOVE, move)).rowcount == 0:
                return False
            await connection.execute(self._add, {"rows": rows})
            if stale is not None:
                await stale.delete(connection, self.limit.expected)
                self.limit.made_room()
        return True

    def _added(self, groups: Sequence[Row[Any]]) -> dict[Key, tuple[int, float]]:
        added: dict[Key, tuple[int, float]] = {}

        def add(name: str, task: str, queue: str, label: str, count: int, total: float = 0.0) -> None:
            before = added.get((name, task, queue, label), (0, 0.0))
            added[name, task, queue, label] = before[0] + count, before[1] + total

        for group in groups:
            # By queue every job is counted: what is shown of them is limited where it is shown.
            in_queue = sys.intern(group.queue[:MAX_NAME])
            add("jobs", "", in_queue, group.status, group.number)
            if group.error_code == MOVED and group.was == group.status:
                add("jobs", "", sys.intern(group.error_type[:MAX_NAME]), group.was, -group.number)
                continue
            if group.was is not None:
                add("jobs", "", in_queue, group.was, -group.number)
            task, queue = self.limit.pair(group.task, group.queue, group.number)
            for name, label, count, total in counted(group):
                shown = self.limit.exception(task, label, count) if name == "failed" else label
                add(name, task, queue, shown, count, total)
        if dropped := self.limit.take_dropped():
            add("dropped", "", "", "", dropped)
        return added

    def _mirror(self, added: Mapping[Key, tuple[int, float]]) -> None:
        changed: dict[tuple[str, Pair], dict[str, tuple[int, float]]] = defaultdict(dict)
        for (name, task, queue, label), (count, total) in added.items():
            series = self.series[name].get((task, queue), {})
            before = series.get(label, (0, 0.0))
            changed[name, (task, queue)][sys.intern(label)] = before[0] + count, before[1] + total
        for (name, pair), values in changed.items():
            self.series[name][pair] = {**self.series[name].get(pair, {}), **values}

    async def _reflect(self, connection: AsyncConnection) -> Position:
        """Read the table, if it is not what the mirror shows. Cursor, table and cursor agree, or it is read again."""
        position = await self._cursor(connection)
        while position != self._position:
            series = await self._load(connection)
            found = await self._cursor(connection)
            if found == position:
                self._show(series)
                self._position = position
            position = found
        return position

    async def _cursor(self, connection: AsyncConnection) -> Position:
        row = (await connection.execute(_CURSOR)).first()
        return Position(row.txid, row.seq) if row is not None else await self._first(connection)

    async def _first(self, connection: AsyncConnection) -> Position:
        await connection.execute(_BEGIN)
        await connection.commit()
        return await self._cursor(connection)

    async def _load(self, connection: AsyncConnection) -> dict[str, dict[Pair, dict[str, tuple[int, float]]]]:
        loaded: dict[str, dict[Pair, dict[str, tuple[int, float]]]] = defaultdict(lambda: defaultdict(dict))
        result = await connection.stream(_READ)
        # In parts, so that a large table does not hold up the event loop.
        async for rows in result.partitions(1_000):
            for name, task, queue, label, count, total in rows:
                loaded[name][sys.intern(task), sys.intern(queue)][sys.intern(label)] = count, total
        return loaded

    def _show(self, loaded: Mapping[str, Mapping[Pair, Series]]) -> None:
        """Make `loaded` the mirror; a series that has not changed stays the same object."""
        self.limit.load(loaded)
        for name in self.series.keys() - loaded.keys():
            self.series[name] = {}
        for name, pairs in loaded.items():
            old = self.series[name]
            self.series[name] = {
                pair: old[pair] if old.get(pair) == series else series for pair, series in pairs.items()
            }
