"""The record's face: accept, claim, settle, steer. Reading is in `reader`, the SQL in `statements`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from tasks.command import Told, to_command
from tasks.errors import ConfigurationError, JobgateError, SchemaMismatch, StoreUnavailable
from tasks.job import FINAL, Attempt, Counts, Job, Mode, NewJob, State
from tasks.step import Step
from tasks.store import commands, limits, statements, upkeep, workers
from tasks.store.backend import Backend, Query, Rows, absent_file, make_backend, parse_url, resolved
from tasks.store.claiming import SLACK, SURPLUS, Claim
from tasks.store.reader import NEVER, Reader
from tasks.store.schema import SHAPE
from tasks.store.tallies import Tallies
from tasks.store.writer import MAX_PROMOTED, Writer, key_rows, promotion, step_row, to_attempt, to_job
from tasks.worker import Worker

#: The revision this release works with; a test holds it against Alembic's scripts.
HEAD = "0001"
#: Milliseconds after which a worker does not do any more what it was told.
COMMAND_AGE = 60_000
#: Milliseconds that a running job has to stop, if the caller names none.
CANCEL_GRACE = 10_000


class JobStore(Reader):
    """One per process, used from one event loop."""

    def __init__(self, backend: Backend, mode: Mode, result_age: int = NEVER) -> None:
        super().__init__(backend, result_age)
        self.mode = mode
        self.writer = Writer(backend, self.health)
        self.tallies = Tallies(backend.engine)

    async def start(self) -> None:
        """Open the database. ConfigurationError if its schema is not this release's, or sessions are shared."""
        await self._backend.start()
        found = await self.revision()
        if found != HEAD:
            raise ConfigurationError(
                f"the database has schema {found or 'none'}, this release needs {HEAD}: run `jobgate db upgrade` first"
            )
        self.writer.start()

    async def stop(self) -> None:
        await self.writer.stop()
        await self.close()

    async def close(self) -> None:
        """Give the connections back; all that is needed where `start` failed."""
        await self.health.stop()
        await self._backend.stop()

    async def revision(self) -> str | None:
        """The schema's revision, None for an empty database. StoreUnavailable if it cannot be reached."""
        try:
            async with self.engine.connect() as connection:
                tables = await connection.run_sync(lambda c: c.dialect.has_table(c, "alembic_version"))
                rows = await connection.execute(text("SELECT version_num FROM alembic_version")) if tables else ()
                return next((row[0] for row in rows), None)
        except (DBAPIError, OSError) as error:
            raise StoreUnavailable(f"the store cannot be reached: {error}") from error

    async def check_schema(self) -> None:
        """Raises SchemaMismatch where the tables are not those of this release, StoreUnavailable if none answers."""
        found = await self.revision()
        if found != HEAD:
            raise SchemaMismatch(f"its schema is {found or 'none'}, this release needs {HEAD}; migrate it")
        await self.look_up(SHAPE)

    async def counts(self) -> Counts:
        """Open jobs per queue and state, counted from the events, and each queue's longest wait of a due job."""
        await self.tallies.fold()
        found: dict[str, dict[str, int]] = {}
        for (_, queue), series in self.tallies.series["jobs"].items():
            states = {state: number for state, (number, _) in series.items() if number and state not in FINAL}
            if states:
                found[queue] = states
        return Counts(open=found, oldest_age={queue: age for queue, (_, age) in (await self.tallies.due()).items()})

    async def accept(self, job: NewJob) -> int:
        """Write the job down; the moment of acceptance, after the commit."""
        if job.key_limit is not None:
            await self._declare_keys([job])
        return await self.writer.accept([job], self.mode)

    async def accept_many(self, jobs: Sequence[NewJob]) -> int:
        """All of them in one transaction."""
        if not jobs:
            return await self.now()
        await self._declare_keys(jobs)
        return await self.writer.accept(jobs, self.mode)

    async def accept_once(self, job: NewJob) -> int | None:
        """Like `accept`, or None if the id or the idempotency key is taken."""
        await self._declare_keys([job])
        return await self.writer.accept_once(job, self.mode)

    async def claim(self, job_id: str, claimer: Mapping[str, Any]) -> Attempt | None:
        """Start an attempt of this job; None if it is not waiting, not due, or its limit lets nobody pass now.

        `claimer`: owner, mode, lease and grace (milliseconds).
        """
        claim = Claim(claimer, 1)
        rows = await self.writer.run(*claim.one(job_id), answer=claim.rows)
        self.writer.promote(dict.fromkeys(claim.recheck, 1))
        return to_attempt(rows[0]) if rows else None

    def claim_outside(self, job_id: str, claimer: Mapping[str, Any]) -> tuple[Attempt | None, float | None]:
        """`claim` for a thread outside the loop; beside it the seconds until the job's rate limit has room."""
        claim = Claim(claimer, 1)
        (rows,) = self._backend.transact_outside([claim.free(job_id)])
        rows = rows or claim.rows(self._backend.transact_outside(claim.limited(job_id)))
        self._promote_outside(claim.recheck)
        return to_attempt(rows[0]) if rows else None, min(claim.later.values(), default=None)

    def settle_outside(self, step: Step) -> State | None:
        """`settle` for a thread outside the loop; None says nothing certain yet, `settle` does."""
        rows = self._backend.transact_outside([Query(statements.SETTLE, rows=[step_row(step)])])[0]
        self._promote_outside({row[3] for row in rows if row[3]})
        return State(rows[0][2]) if rows else None

    async def take(
        self, order: Sequence[Sequence[str]], n: int, claimer: Mapping[str, Any], skipped: Sequence[str] = ()
    ) -> Rows:
        """Claim the `n` best due jobs of these groups of queues that their limits let start; see `claiming.Claim`."""
        taken: Rows = []
        claim = Claim(claimer, n)
        while True:
            taken += await self.writer.run(*claim.best(order, skipped), answer=claim.rows)
            self.writer.promote(dict.fromkeys(claim.recheck, 1))
            if len(taken) == n or not claim.refused:
                return taken
            claim = Claim(claimer, n - len(taken), SURPLUS, judges=True)

    async def settle(self, step: Step) -> State | None:
        """End an attempt; the state the job is in now, or None if the attempt had lost it."""
        (settled,) = await self.writer.settle([step])
        if settled is not None:
            return settled
        # The commit that said nothing because the connection broke may have happened all the same.
        return await self._ended_by(step)

    async def renew(self, attempts: Sequence[tuple[str, int]], claimer: Mapping[str, Any]) -> dict[str, bool]:
        """Prolong the leases of these (id, attempt); those still held, and whether a cancel was asked for."""
        params = {name: claimer[name] for name in ("owner", "lease", "grace")}
        rows = await self.writer.run(Query(statements.RENEW, params, rows=[list(attempt) for attempt in attempts]))
        return {job_id: cancelled_at is not None for job_id, cancelled_at in rows}

    async def cancel(self, job_id: str, grace: int = CANCEL_GRACE) -> Job | None:
        """Revoke a waiting job, or ask a running one to stop within `grace` ms; None if it has ended or is unknown."""
        return self._left(await self._one(statements.CANCEL, id=job_id, grace=grace))

    async def set_held(self, job_id: str, held: bool) -> Job | None:
        """Hold or release a waiting job; None if it is not waiting."""
        return self._left(await self._one(statements.HOLD if held else statements.RELEASE, id=job_id))

    async def set_limit(self, name: str, interval: float | None, concurrency: int | None) -> None:
        """Declare a rate (milliseconds between two starts) and concurrency limit."""
        params = {"name": name, "interval": interval or 0.0, "max_running": concurrency}
        await self.writer.run(Query(statements.SET_LIMIT, params))
        self.limits_changed([name])

    async def lift_limits(self, names: Sequence[str]) -> None:
        """Declare that these tasks have no limit, whatever an earlier release declared."""
        await self.writer.run(Query(statements.LIFT_LIMITS, rows=[[name] for name in names]))
        self.limits_changed(names)

    def limits_changed(self, names: Sequence[str]) -> None:
        """Lets jobs start that wait behind these limits, if there is room for them now."""
        self.writer.promote(dict.fromkeys(names, MAX_PROMOTED))

    def room_freed(self, names: Iterable[str]) -> None:
        """Lets another job start for each of these limit names, "" for none, whose job has left its place."""
        self.writer.promote(Counter(name for name in names if name))

    async def repair_limits(self, behind: str, n: int) -> str | None:
        """Promotes behind the next `n` limits after `behind` for which jobs wait; the last, None if it was the end."""
        names = [row[0] for row in await self.look_up(limits.AWAITED, name=behind, n=n)]
        self.writer.promote(dict.fromkeys(names, 1))
        return names[-1] if len(names) == n else None

    async def limits_awaited(self) -> bool:
        """Whether jobs wait behind a limit."""
        return bool(await self.look_up(limits.AWAITED, name="", n=1))

    async def next_starts(self) -> Sequence[tuple[str, float]]:
        """The rate limits behind which jobs wait, and the seconds until each lets the next job start."""
        found = await self.look_up(limits.NEXT_STARTS)
        return [(name, 0.0 if wait > interval + SLACK else max(0.0, wait / 1000)) for name, wait, interval in found]

    async def report(
        self, owner: str, progress: Sequence[Sequence[Any]] = (), lines: Sequence[Sequence[Any]] = ()
    ) -> None:
        """Write progress ([id, attempt, json]) and log lines ([id, attempt, level, message]) of running jobs."""
        program = []
        if progress:
            program.append(Query(statements.PROGRESS, {"owner": owner}, rows=progress))
        if lines:
            program.append(Query(statements.LOG, rows=lines))
        if program:
            await self.writer.run(*program)

    async def beat(self, worker: Worker) -> Told:
        """Put a carrier into the registry, or show that it lives; what there is to say to it."""
        lists = {name: json.dumps(getattr(worker, name)) for name in ("queues", "tasks", "versions")}
        own = (
            "owner",
            "name",
            "instance",
            "host",
            "pid",
            "mode",
            "pool",
            "slots",
            "busy",
            "version",
            "broker",
            "clock_at",
            "heard",
            "abandoned",
            "memory",
        )
        values = {name: getattr(worker, name) for name in own}
        addressee = {"owner": worker.owner, "instance": worker.instance, "age": COMMAND_AGE}
        deaf, told = await self.writer.run(
            Query(workers.BEAT, {**values, **lists, "draining": int(worker.draining)}),
            Query(commands.TAKE, addressee),
            answer=lambda results: results,
        )
        return Told(bool(deaf[0][0]), [to_command(row) for row in told])

    async def call_deaf(self, instance: str, deaf: bool = True) -> None:
        """Marks all processes of this worker as not consuming, or as consuming again."""
        await self.writer.run(Query(workers.DEAF if deaf else workers.HEARS, {"instance": instance}))

    async def gone(self, owner: str) -> None:
        """Take a carrier out of the registry."""
        await self.writer.run(Query(workers.GONE, {"owner": owner}))

    async def abandon(self, owners: Sequence[str]) -> int:
        """Let the leases of these dead owners run out at once; how many attempts that were."""
        return len(await self.writer.run(Query(upkeep.ABANDON, rows=[[owner] for owner in owners])))

    async def run(self, sql: str, rows: Sequence[Sequence[Any]] | None = None, **params: Any) -> Rows:
        """Run one statement of `statements` inside the next transaction."""
        returned: Rows = await self.writer.run(Query(sql, params, rows=rows))
        return returned

    async def look_up(self, sql: str, rows: Sequence[Sequence[Any]] | None = None, **params: Any) -> Rows:
        """A small read, by key or by index: as `run`, but outside any transaction."""
        return await self._look_up(sql, rows, **params)

    async def _one(self, sql: str, **params: Any) -> Job | None:
        rows = await self.writer.run(Query(sql, params))
        return to_job(rows[0]) if rows else None

    async def _declare_keys(self, jobs: Sequence[NewJob]) -> None:
        if rows := key_rows(jobs):
            await self.writer.run(Query(limits.KEYS, rows=rows))

    def _left(self, job: Job | None) -> Job | None:
        """A job that leaves its place before its limit lets the next one come."""
        if job is not None:
            self.room_freed([job.limit_name])
        return job

    def _promote_outside(self, names: Iterable[str]) -> None:
        """`Writer.promote` for a thread outside the loop. Should it fail, `repair_limits` makes up for it."""
        if freed := Counter(names):
            with contextlib.suppress(JobgateError):
                awaited, promote = promotion(freed)
                answers = self._backend.transact_outside([awaited])
                if promoting := resolved(promote, answers):
                    self._backend.transact_outside([promoting])

    async def _ended_by(self, step: Step) -> State | None:
        """The state of a job whose present attempt was ended by this step's owner; None if it was not."""
        query = text(statements.ENDED_BY).bindparams(id=step.job_id, attempt=step.attempt, owner=step.owner)
        rows = await self._fetch(query)
        return State(rows[0][0]) if rows else None


async def open_store(
    url: str, mode: Mode, result_expires: float | None = None, *, make: bool = True, **options: Any
) -> JobStore:
    """A started store. With `make`, an SQLite file is made, or brought up to this release's schema, first.

    Without it the database must be there, as programs that only submit jobs need it: raises ConfigurationError.
    `result_expires`: seconds after its job's end for which a result is shown; None for ever.
    `options`: `synchronous`, SQLite's, "NORMAL" (survives a crash of the process) or "FULL" (of the machine too).
    """
    parsed = parse_url(url)
    if not make and (path := absent_file(parsed)):
        raise ConfigurationError(
            f"DATABASE_URL: there is no database at {path} (a relative path starts in the working folder). Name the "
            "gateway's database; the gateway's first start makes it, or `jobgate db upgrade`"
        )
    age = NEVER if result_expires is None else round(result_expires * 1000)
    store = JobStore(make_backend(parsed, **options), mode, age)
    try:
        if make and parsed.get_backend_name() == "sqlite" and await store.revision() != HEAD:
            await asyncio.to_thread(_migrate, parsed)
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


def _migrate(url: URL) -> None:
    absolute = url.set(database=str(Path(str(url.database)).resolve()))
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tasks.store.migrate", absolute.render_as_string(hide_password=False)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603  # our own module
    if done.returncode != 0:
        raise ConfigurationError(f"the database cannot be brought up to date: {done.stderr.strip()[-500:]}")
