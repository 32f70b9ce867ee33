"""The verbs of schedules on the record; the SQL is in `schedules`, what to do in `tasks.plan`."""

from __future__ import annotations

import builtins
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from tasks.admission import new_id
from tasks.job import NewJob
from tasks.plan import Facts
from tasks.schedule import Schedule, Spec, write_spec
from tasks.store import limits
from tasks.store import schedules as sql
from tasks.store.backend import Query, Rows
from tasks.store.store import JobStore
from tasks.store.stretch import bound_label
from tasks.store.writer import key_rows, new_row

#: Upper bounds, in seconds, of the buckets of lateness.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

_FIELDS = Schedule.__struct_fields__
_WIDTH = len(_FIELDS)


class Due(Struct, frozen=True):
    """A schedule whose fire time has come. `now` is the database's clock."""

    schedule: Schedule
    facts: Facts
    now: int


class Queued(Struct, frozen=True):
    """A fire time that waited for the job before it, which has ended."""

    schedule: Schedule
    fire_at: int


class Replaced(Struct, frozen=True):
    """A running job that its schedule cancels, because a later fire time takes its place."""

    schedule: Schedule
    job_id: str


class Ended(Struct, frozen=True):
    """A schedule with a followed fire time whose job has ended; `spec` as its row has it."""

    schedule_id: str
    name: str
    spec: str


class Fire(Struct, frozen=True, kw_only=True):
    """A fire time to be written down, with its job if it has one. `late` is in seconds."""

    schedule_id: str
    fire_at: int
    outcome: str
    cause: str = "time"
    job: NewJob | None = None
    followed: bool = False
    reason: str | None = None
    late: float = 0.0


class Move(Struct, frozen=True, kw_only=True):
    """How a schedule goes on, from where it was looked at."""

    schedule: Schedule
    next_at: int | None
    missed: int = 0
    skipped: int = 0
    error: str | None = None


class Past(Struct, frozen=True):
    """A fire time that was decided. `status` is its job's, None where there is no job or it is no longer kept."""

    fire_at: int
    outcome: str
    cause: str
    job_id: str | None
    status: str | None
    reason: str | None
    decided_at: int
    decided_by: str


class Counter(Struct, frozen=True):
    """What a schedule has counted; `next_in` is in milliseconds, None while it is paused."""

    name: str
    fired: int
    missed: int
    skipped: int
    next_in: int | None


class Ledger(Protocol):
    """What can be read from, as `JobStore` can."""

    async def look_up(self, sql: str, rows: Sequence[Sequence[Any]] | None = None, **params: Any) -> Rows: ...


class ScheduleReader:
    """What the schedules have counted."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def counters(self, limit: int) -> builtins.list[Counter]:
        return [Counter(*row) for row in await self._ledger.look_up(sql.COUNTERS, n=limit)]

    async def lateness(self) -> dict[str, tuple[int, float]]:
        """By bucket: how many fire times were that late, and their seconds together."""
        return {row[0]: (row[1], row[2]) for row in await self._ledger.look_up(sql.READ_LATENESS)}


class ScheduleStore:
    """Schedules on a job store's database. `owner` signs what is decided here."""

    def __init__(self, store: JobStore, owner: str) -> None:
        self._store = store
        self._owner = owner

    async def add(self, spec: Spec, **row: Any) -> Schedule | None:
        """A new schedule, or None where the name is taken. `row`: declared, origin, enabled, anchor, next_at."""
        values = [new_id(), spec.name, write_spec(spec), row["declared"], row["origin"], int(row["enabled"])]
        rows = await self._store.writer.run(
            Query(sql.FORGET_DELETED, {"name": spec.name}),
            Query(sql.ADD, rows=[[*values, row["anchor"], row["next_at"]]]),
        )
        return to_schedule(rows[0]) if rows else None

    async def get(self, key: str) -> Schedule | None:
        """By id or by name."""
        rows = await self._store.look_up(sql.GET, key=key)
        return to_schedule(rows[0]) if rows else None

    async def list(self, limit: int, after: str = "") -> builtins.list[Schedule]:
        """By name, those behind `after`."""
        return [to_schedule(row) for row in await self._store.look_up(sql.LIST, after=after, n=limit)]

    async def declared(self, name: str) -> Schedule | None:
        """The row of that name, even one that was deleted."""
        rows = await self._store.look_up(sql.DECLARED, key=name)
        return to_schedule(rows[0]) if rows else None

    async def change(
        self, old: Schedule, spec: Spec, declared: str | None, anchor: int, next_at: int | None
    ) -> Schedule | None:
        """The changed row, or None if it is not `old` any more. Refused (a Refused error) where the name is taken."""
        row = [old.id, old.version, spec.name, write_spec(spec), declared, anchor, next_at]
        return _first(await self._store.run(sql.CHANGE, [row]))

    async def resume(self, old: Schedule, next_at: int | None) -> Schedule | None:
        return _first(await self._store.run(sql.RESUME, [[old.id, old.version, next_at]]))

    async def pause(self, schedule_id: str) -> Schedule | None:
        return _first(await self._store.run(sql.PAUSE, id=schedule_id))

    async def delete(self, schedule_id: str) -> Schedule | None:
        """Its jobs stay. One that code declares stays as a row that nobody sees."""
        params = {"id": schedule_id}
        program = [Query(text, params) for text in (sql.DELETE, sql.BURY, sql.DELETE_FIRES)]
        rows: Rows = await self._store.writer.run(*program, answer=lambda results: results[0] or results[1])
        return _first(rows)

    async def next_fire(self) -> float | None:
        """Seconds until the next fire time; None when none is to come."""
        wait = (await self._store.look_up(sql.NEXT_FIRE))[0][0]
        return None if wait is None else wait / 1000

    async def due(self, limit: int) -> builtins.list[Due]:
        rows = await self._store.look_up(sql.DUE, n=limit)
        return [Due(to_schedule(row[:_WIDTH]), Facts(bool(row[-3]), bool(row[-2])), row[-1]) for row in rows]

    async def move(self, moves: Sequence[Move], fires: Sequence[Fire]) -> builtins.list[str]:
        """Let schedules go on and decide their fire times, in one transaction; the ids of the jobs that this made.

        What somebody else has decided or changed since the look is left as it is.
        """
        token = {"token": new_id()}
        ids = [[move.schedule.id] for move in moves]
        first = [Query(sql.LOCK, rows=ids), Query(sql.MOVE, token, rows=[_move_row(move) for move in moves])]
        return await self._decide(first, token, fires)

    async def fire(self, schedule_id: str, fires: Sequence[Fire]) -> builtins.list[str]:
        """Fire beside the schedule's times; the ids of the jobs that this made."""
        token = {"token": new_id()}
        return await self._decide([Query(sql.MARK, {**token, "id": schedule_id})], token, fires)

    async def ended(self, limit: int) -> builtins.list[Ended]:
        """One for each followed fire time whose job has ended."""
        return [Ended(*row) for row in await self._store.look_up(sql.ENDED, n=limit)]

    async def close(self, ended: dict[str, Spec]) -> builtins.list[tuple[str, int]]:
        """Note how those ended; name and failures of the schedules that were paused for it."""
        ids = [[schedule_id] for schedule_id in ended]
        bounds = [[key, spec.pause_after] for key, spec in ended.items() if spec.pause_after is not None]
        rows: Rows = await self._store.writer.run(
            Query(sql.LOCK, rows=ids),
            Query(sql.CLOSE, rows=ids),
            Query(sql.FAILURES, rows=ids),
            Query(sql.PAUSE_FAILED, rows=bounds),
        )
        return [(row[0], row[1]) for row in rows]

    async def any_queued(self) -> bool:
        """Whether a fire time waits for the job before it."""
        return bool(await self._store.look_up(sql.ANY_QUEUED))

    async def promotable(self, limit: int) -> builtins.list[Queued]:
        """Queued fire times whose turn has come, the oldest first."""
        rows = await self._store.look_up(sql.PROMOTABLE, n=limit)
        return [Queued(to_schedule(row[:_WIDTH]), row[-1]) for row in rows]

    async def in_the_way(self, limit: int) -> builtins.list[Replaced]:
        """Running jobs to be cancelled for a queued fire time, that nobody has asked to stop; the oldest first."""
        rows = await self._store.look_up(sql.IN_THE_WAY, n=limit)
        return [Replaced(to_schedule(row[:_WIDTH]), row[-1]) for row in rows]

    async def promote(self, queued: Queued, job: NewJob) -> bool:
        """Make the job of a queued fire time; False if somebody else has."""
        row = [queued.schedule.id, queued.fire_at, job.id]
        self._store.writer.woken()
        made: Rows = await self._store.writer.run(
            Query(sql.PROMOTE, {"owner": self._owner}, rows=[row]),
            Query(limits.KEYS, rows=key_rows([job])),
            Query(sql.MAKE_JOBS, rows=[new_row(job, self._store.mode)]),
            Query(sql.COUNT, rows=[[job.id, ""]]),
            answer=lambda results: results[0],
        )
        return bool(made)

    async def refuse(self, queued: Queued, reason: str) -> None:
        await self._store.run(sql.REFUSE, [[queued.schedule.id, queued.fire_at, reason]])

    async def history(self, schedule_id: str, limit: int) -> builtins.list[Past]:
        """The latest fire times first."""
        return [Past(*row) for row in await self._store.look_up(sql.HISTORY, id=schedule_id, n=limit)]

    async def decided(self, schedule_id: str, first: int, last: int) -> set[int]:
        """Which fire times between these two, both included, are decided already."""
        return {row[0] for row in await self._store.look_up(sql.DECIDED, id=schedule_id, n0=first, n1=last)}

    async def forget(self, age: int) -> int:
        """Let fire times go that were decided more than `age` milliseconds ago; how many those were."""
        return len(await self._store.run(sql.FORGET_FIRES, age=age))

    async def _decide(self, first: Sequence[Query], token: dict[str, str], fires: Sequence[Fire]) -> builtins.list[str]:
        mine = [[fire.job.id, _bucket(fire.late)] for fire in fires if fire.job is not None]
        jobs = [fire.job for fire in fires if fire.job is not None]
        waiting = [[fire.schedule_id, fire.fire_at] for fire in fires if fire.outcome == "queued" and fire.followed]
        program = [
            *first,
            Query(sql.DECIDE, {**token, "owner": self._owner}, rows=[_fire_row(fire) for fire in fires]),
            Query(sql.SUPERSEDE, rows=waiting),
            Query(limits.KEYS, rows=key_rows(jobs)),
            Query(sql.MAKE_JOBS, rows=[new_row(job, self._store.mode) for job in jobs]),
            Query(sql.COUNT, rows=mine),
            Query(sql.LATENESS, rows=mine),
        ]
        # First, so that whoever takes due jobs is asked in this very transaction.
        self._store.writer.woken()
        decided: Rows = await self._store.writer.run(*program, answer=lambda results: results[len(first)])
        return [row[2] for row in decided if row[2] is not None]


def to_schedule(row: tuple[Any, ...]) -> Schedule:
    values = dict(zip(_FIELDS, row, strict=True))
    return Schedule(**{**values, "enabled": bool(values["enabled"])})


def _first(rows: Rows) -> Schedule | None:
    return to_schedule(rows[0]) if rows else None


def _move_row(move: Move) -> builtins.list[Any]:
    schedule = move.schedule
    return [schedule.id, move.error, schedule.version, schedule.next_at, move.next_at, move.missed, move.skipped]


def _fire_row(fire: Fire) -> builtins.list[Any]:
    job_id = None if fire.job is None else fire.job.id
    status = "FAILURE" if fire.outcome == "refused" else None
    followed = int(fire.followed and job_id is not None)
    return [fire.schedule_id, fire.outcome, fire.cause, job_id, status, fire.reason, fire.fire_at, followed]


def _bucket(late: float) -> str:
    return bound_label(BOUNDS, bisect_left(BOUNDS, late))
