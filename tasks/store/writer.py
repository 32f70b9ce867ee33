"""Group commit: everything that is waiting to be written goes into one transaction, without a timer.

While a transaction is on its way, the next one gathers. Nobody is answered before the commit that holds his row.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec.structs import astuple

from tasks.errors import JobgateError, StoreUnavailable
from tasks.job import FINAL, Attempt, Job, NewJob, State
from tasks.step import Step
from tasks.store import limits, statements
from tasks.store.backend import Backend, Item, Query, Refused, Rows, Then
from tasks.store.health import StoreHealth

log = logging.getLogger("jobgate.store")

#: Jobs of one limit and queue that one promotion makes candidates.
MAX_PROMOTED = 32

_NEW_FIELDS = NewJob.__struct_fields__
_HELD = _NEW_FIELDS.index("held")
_STATES = {str(state): state for state in State}
_JOB_FIELDS = Job.__struct_fields__


class Taker(Protocol):
    """Something that wants due jobs as soon as they are there: asked before each transaction, told after it."""

    def wanted(self, accepting: bool) -> Sequence[Item]:
        """The statements to run after the acceptances of this transaction; `accepting` says whether it has any."""

    def taken(self, answers: Sequence[Rows] | None) -> None:
        """What the statements returned, or None if the transaction failed."""


class Write:
    """A program of its own inside a transaction, who waits for it, and how its answer is made."""

    __slots__ = ("answer", "done", "program")

    def __init__(self, program: Sequence[Item], done: asyncio.Future[Any], answer: Callable[[list[Rows]], Any]) -> None:
        self.program = program
        self.done = done
        self.answer = answer


class Batch:
    """What goes into one transaction: acceptances first, then settling, then everything else."""

    def __init__(self) -> None:
        self.accepts: list[tuple[Sequence[list[Any]], asyncio.Future[Any]]] = []
        self.settles: list[tuple[Sequence[list[Any]], asyncio.Future[Any]]] = []
        self.others: list[Write] = []
        #: How many jobs of each limit may start now that could not before.
        self.promotes: Counter[str] = Counter()
        self.accepting = False

    def __bool__(self) -> bool:
        return bool(self.accepts or self.settles or self.others or self.promotes)

    def program(self) -> list[Item]:
        program: list[Item] = []
        if self.accepts:
            program.append(Query(statements.ACCEPT, rows=[row for rows, _ in self.accepts for row in rows]))
        if self.settles:
            program.append(Query(statements.SETTLE, rows=[row for rows, _ in self.settles for row in rows]))
        for write in self.others:
            program.extend(write.program)
        if self.promotes:
            program.extend(promotion(self.promotes))
        return program

    def answer(self, results: list[Rows]) -> tuple[list[str], Counter[str]]:
        """Resolves the futures of the writes. Returns the ids of the jobs that ended, and the limits they free."""
        rest = iter(results)
        ended: list[str] = []
        freed: Counter[str] = Counter()
        if self.accepts:
            accepted_at = next(rest)[0][0]
            for _, done in self.accepts:
                _resolve(done, accepted_at)
        if self.settles:
            rows_settled = next(rest)
            freed.update(row[3] for row in rows_settled if row[3])
            settled = {(job_id, attempt): _STATES[status] for job_id, attempt, status, _ in rows_settled}
            ended = [job_id for (job_id, _), status in settled.items() if status in FINAL]
            for rows, done in self.settles:
                _resolve(done, [settled.get((row[0], row[1])) for row in rows])
        for write in self.others:
            _resolve(write.done, write.answer([next(rest) for _ in write.program]))
        return ended, freed

    def fail(self, error: BaseException) -> None:
        for done in [*(d for _, d in self.accepts), *(d for _, d in self.settles), *(w.done for w in self.others)]:
            if not done.done():
                done.set_exception(error)

    def halves(self) -> list[Batch]:
        """The same writes in two batches, or in none if there is nothing left to divide."""
        writes: list[tuple[str, Any]] = [
            *(("accepts", w) for w in self.accepts),
            *(("settles", w) for w in self.settles),
            *(("others", w) for w in self.others),
        ]
        if len(writes) < 2:
            return []
        middle = len(writes) // 2
        return [_batch(writes[:middle]), _batch(writes[middle:])]


class Writer:
    """One per process. All methods but the constructor belong to the event loop that runs it."""

    def __init__(self, backend: Backend, health: StoreHealth) -> None:
        self._backend = backend
        self._health = health
        self._next = Batch()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._stopped = False
        self.takers: list[Taker] = []
        #: Called after a commit of this process with the ids of the jobs that it ended.
        self.on_ended: list[Callable[[list[str]], None]] = []

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="jobgate-writer")

    async def stop(self) -> None:
        """Write what is still waiting, then stop."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._stopped = True
        self._next.fail(StoreUnavailable("this process is closing its store"))

    def accept(self, jobs: Sequence[NewJob], mode: str) -> asyncio.Future[int]:
        """The moment of acceptance, once the rows are committed."""
        rows = new_rows(jobs, mode)
        done = self._future()
        self._next.accepts.append((rows, done))
        self._next.accepting = True
        return done

    def accept_once(self, job: NewJob, mode: str) -> asyncio.Future[int | None]:
        """Like `accept` for one job whose id or idempotency key may stand already: then None."""
        query = Query(statements.ACCEPT_ONCE, rows=[new_row(job, mode)])
        done = self.run(query, answer=lambda results: results[0][0][0] if results[0] else None)
        self._next.accepting = True
        return done

    def settle(self, steps: Sequence[Step]) -> asyncio.Future[list[State | None]]:
        """For each the state its job is in now, or None if the attempt no longer held it."""
        rows = [step_row(step) for step in steps]
        done = self._future()
        self._next.settles.append((rows, done))
        return done

    def run(
        self, *program: Item, answer: Callable[[list[Rows]], Any] = lambda results: results[-1]
    ) -> asyncio.Future[Any]:
        """Run statements inside the next transaction; `answer` makes the outcome from what each returned."""
        done = self._future()
        self._next.others.append(Write(program, done, answer))
        return done

    def promote(self, names: Mapping[str, int]) -> None:
        """Lets the next transaction make candidates of jobs that wait behind these limits, so many of each.

        Not the transaction that freed the limit: on PostgreSQL it cannot see what a concurrent claim puts behind it.
        """
        if names:
            self._next.promotes.update(names)
            self.woken()

    def nudge(self) -> None:
        """Ask the takers again, even if nothing else is to be written."""
        self._wake.set()

    def woken(self) -> None:
        """Tell the takers that jobs have become ready otherwise than by being accepted."""
        self._next.accepting = True
        self._wake.set()

    def _future(self) -> asyncio.Future[Any]:
        """For a write that is put into the next batch at once: the loop is woken for it here."""
        if self._stopped:
            raise StoreUnavailable("this process has closed its store")
        self._wake.set()
        return asyncio.get_running_loop().create_future()

    async def _run(self) -> None:
        while self._next or not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            batch, self._next = self._next, Batch()
            try:
                await self._commit(batch, self.takers)
            except Exception as error:  # whatever it is, it must end neither the writer nor the wait for an answer
                log.exception("a transaction failed")
                batch.fail(StoreUnavailable(f"the store failed: {type(error).__name__}"))

    async def _commit(self, batch: Batch, takers: Sequence[Taker]) -> None:
        asked = [(taker, items) for taker in takers if (items := taker.wanted(batch.accepting))]
        own = batch.program()
        program = [*own, *(item for _, items in asked for item in items)]
        if not program:
            return
        try:
            results = await self._backend.transact(program)
        except Exception as error:
            for taker, _ in asked:
                taker.taken(None)
            if not isinstance(error, JobgateError):
                raise
            await self._again(batch, error, bool(asked))
            return
        ended, freed = batch.answer(results[: len(own)])
        self.promote(freed)
        place = len(own)
        for taker, items in asked:
            taker.taken(results[place : place + len(items)])
            place += len(items)
        for listener in self.on_ended if ended else ():
            listener(ended)

    async def _again(self, batch: Batch, error: JobgateError, with_takers: bool) -> None:
        """One statement that the database refuses must not take the others with it: find it by halving."""
        if not isinstance(error, Refused):
            self._health.failed("write")
            batch.fail(error)
        elif with_takers:
            await self._commit(batch, ())
        elif halves := batch.halves():
            for half in halves:
                await self._commit(half, ())
        else:
            batch.fail(error)


def promotion(names: Mapping[str, int]) -> tuple[Query, Then]:
    """Makes candidates of so many jobs behind each limit; `limits.PROMOTE` has one number for all of them.

    It asks first behind which limits jobs wait: as a rule behind none of those that concurrency keys bring.
    """
    values = {"n": min(max(names.values()), MAX_PROMOTED), "lead": limits.LEAD}
    return (
        Query(limits.AWAITED_AMONG, rows=[[name] for name in sorted(names)]),
        Then(lambda awaited: Query(limits.PROMOTE, values, rows=awaited) if awaited else None),
    )


def new_rows(jobs: Sequence[NewJob], mode: str) -> list[list[Any]]:
    """Rows of `statements.ACCEPT`. Of the jobs of one limit in one queue only the best becomes a candidate at once."""
    best: dict[tuple[str, str], int] = {}
    for n, job in enumerate(jobs):
        if job.limit_name and not job.held and not job.delay and job.due_at is None:
            place = best.setdefault((job.limit_name, job.queue), n)
            if job.priority > jobs[place].priority:
                best[job.limit_name, job.queue] = n
    rows = [new_row(job, mode) for job in jobs]
    for n, job in enumerate(jobs):
        if best.get((job.limit_name, job.queue), n) != n:
            rows[n][-1] = 1
    return rows


def new_row(job: NewJob, mode: str) -> list[Any]:
    """A row of `statements.ACCEPT`."""
    row = list(astuple(job))
    row[_HELD] = int(job.held)
    row[-1] = mode  # in the place of the key's limit, which is no column of a job
    row.append(0)
    return row


def key_rows(jobs: Sequence[NewJob]) -> list[list[Any]]:
    """Rows of `limits.KEYS`, to be written before these jobs: one whose limit is not there is held up for ever."""
    keys = {job.limit_name: [job.limit_name, job.task, job.key_limit] for job in jobs if job.key_limit is not None}
    return [keys[name] for name in sorted(keys)]


def step_row(step: Step) -> list[Any]:
    """A row of `statements.SETTLE`."""
    failure = step.failure
    why = (None, None, None, None) if failure is None else (failure.code, failure.type, failure.message, failure.trace)
    delay = round(step.delay * 1000)
    return [
        step.job_id, step.attempt, step.owner, step.target.value, delay, step.result, step.runtime, step.failed, *why
    ]  # fmt: skip  # one line a row of statements._STEP


def _batch(writes: Sequence[tuple[str, Any]]) -> Batch:
    batch = Batch()
    for name, write in writes:
        getattr(batch, name).append(write)
    return batch


def _resolve(done: asyncio.Future[Any], value: Any) -> None:
    if not done.done():  # its owner may have been cancelled meanwhile; the row stands all the same
        done.set_result(value)


def to_job(row: tuple[Any, ...]) -> Job:
    """A row of the columns `statements.JOB`."""
    values = dict(zip(_JOB_FIELDS, row, strict=True))
    values["status"] = _STATES[values["status"]]
    values["held"] = bool(values["held"])
    values["result_expired"] = bool(values["result_expired"])
    return Job(**values)


def to_attempt(row: tuple[Any, ...]) -> Attempt:
    """A row of the columns `statements.ATTEMPT`."""
    return Attempt(*row)
