"""A store with a clock of its own, and jobs in whatever state a test needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from tasks import step
from tasks.admission import new_id
from tasks.job import Attempt, ErrorCode, Mode, NewJob, State
from tasks.store import statements
from tasks.store.store import JobStore, open_store
from tasks.worker import Worker

#: The database's clock as the tests have it: SQL that reads a table.
CLOCK = "(SELECT ms FROM clock)"
START = 1_900_000_000_000
LEASE = 10_000
GRACE = 2_000

ME: Mapping[str, Any] = {"owner": "me", "mode": "thread", "lease": LEASE, "grace": GRACE}
YOU: Mapping[str, Any] = {**ME, "owner": "you"}
BROKEN = step.Failure(code=ErrorCode.TASK_ERROR, message="broken", type="ValueError", trace="…")


def new_job(**fields: Any) -> NewJob:
    plain: dict[str, Any] = {
        "id": new_id(),
        "task": "t",
        "queue": "q",
        "priority": 5,
        "arguments": '[[],{"n":1}]',
        "max_retries": 3,
        "max_losses": 3,
        "soft_time_limit": None,
        "time_limit": None,
    }
    return NewJob(**{**plain, **fields})


def worker(owner: str, **fields: Any) -> Worker:
    plain: dict[str, Any] = {
        "owner": owner,
        "name": "w@h",
        "host": "h",
        "pid": 1,
        "mode": "thread",
        "pool": "threads",
        "slots": 1,
        "busy": 0,
        "queues": ("q",),
        "tasks": ("t",),
        "version": "0",
        "draining": False,
    }
    return Worker(**{**plain, **fields})


class Bench:
    """A store, and the hands to work on it."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.now = START

    @classmethod
    @asynccontextmanager
    async def on(cls, url: str) -> AsyncIterator[Bench]:
        store = await open_store(url, Mode.THREAD, clock=CLOCK)
        try:
            bench = cls(store)
            await bench.reset()
            yield bench
        finally:
            await store.stop()

    async def reset(self) -> None:
        """An empty record, and the clock at its start."""
        self.now = START
        async with self.store.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE IF NOT EXISTS clock (ms BIGINT NOT NULL)"))
            for table in (
                "jobs", "events", "logs", "workers", "limits", "tallies", "cursors", "schedules", "fires", "lateness",
                "pauses", "clock",
            ):  # fmt: skip  # a list
                await connection.execute(text(f"DELETE FROM {table}"))
            await connection.execute(text("INSERT INTO clock VALUES (:ms)"), {"ms": START})

    async def advance(self, milliseconds: int) -> None:
        self.now += milliseconds
        await self.sql("UPDATE clock SET ms = :ms", ms=self.now)

    async def sql(self, query: str, **values: Any) -> list[Any]:
        """Whatever one pleases, past the store."""
        async with self.store.engine.begin() as connection:
            found = await connection.execute(text(query), values)
            return list(found.all()) if found.returns_rows else []

    async def row(self, job_id: str) -> dict[str, Any]:
        return dict((await self.sql("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]._mapping)

    async def status(self, job_id: str) -> State:
        return State((await self.row(job_id))["status"])

    async def accept(self, **fields: Any) -> str:
        job = new_job(**fields)
        await self.store.accept(job)
        return job.id

    async def claim(self, job_id: str, claimer: Mapping[str, Any] = ME) -> Attempt:
        attempt = await self.store.claim(job_id, claimer)
        assert attempt is not None, "the job could not be claimed"
        return attempt

    async def started(self, **fields: Any) -> Attempt:
        return await self.claim(await self.accept(**fields))

    async def in_state(self, state: State, **fields: Any) -> Attempt:
        """A job of that state; the values of its last attempt, or of one that never was."""
        if state is State.PENDING or state is State.REVOKED:
            job_id = await self.accept(**fields)
            if state is State.REVOKED:
                await self.store.cancel(job_id)
            return as_attempt(await self.row(job_id))
        attempt = await self.started(**fields)
        endings = {
            State.RETRY: step.retry(attempt, BROKEN, 0.0, 0.1),
            State.SUCCESS: step.succeed(attempt, "1", 0.1),
            State.FAILURE: step.fail(attempt, BROKEN, 0.1),
        }
        if state in endings:
            await self.store.settle(endings[state])
        return attempt

    async def take(self, *groups: list[str], n: int = 100, claimer: Mapping[str, Any] = ME) -> list[str]:
        """Claim from these groups of queues; the ids as they stand in line."""
        names = {f"q{k}": queue for k, queue in enumerate(queue for group in groups for queue in group)}
        rows = await self.store.run(statements.take(list(groups)), **claimer, **names, n=n)
        return [row[0] for row in rows]

    async def events(self, job_id: str) -> list[tuple[str | None, str, int]]:
        """`was`, `status` and `attempt` of the job's transitions."""
        rows = await self.sql(
            "SELECT was, e.status, e.attempt FROM events AS e JOIN jobs ON number = job WHERE id = :id ORDER BY seq",
            id=job_id,
        )
        return [tuple(row) for row in rows]

    def idle_connections_only(self) -> bool:
        engine = self.store.engine
        pool: Any = engine.sync_engine.pool
        return bool(pool.checkedout() == (2 if engine.dialect.name == "postgresql" else 0))  # the store's own two lines


def as_attempt(row: Mapping[str, Any]) -> Attempt:
    values = {name: row[name] for name in Attempt.__struct_fields__}
    return Attempt(**{**values, "owner": row["owner"] or "me"})
