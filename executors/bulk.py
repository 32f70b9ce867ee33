"""Bulk actions: walked through in chunks, newest job first; another gateway goes on where one ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import structs

from executors.identity import make_owner
from tasks.admission import new_id
from tasks.bulk import STATES, Action, Bulk
from tasks.errors import BulkNotFound, JobgateError, JobNotFound, StateConflict, StoreUnavailable
from tasks.job import FINAL, Filter, Job, State
from tasks.store import bulks
from tasks.store.backend import Item, Query, Rows, Then
from tasks.store.writer import to_job

if TYPE_CHECKING:  # the control has bulk actions, and these use its verbs
    from executors.control import Control

log = logging.getLogger("jobgate.bulk")

#: Jobs in one step: between two of them other writes get their turn.
CHUNK = 200
SAMPLE = 10
#: Milliseconds after which a bulk action without progress is somebody else's to go on with.
LEASE = 15_000
#: Seconds between two looks for those, and between two looks at one that is waited for.
LOOK = 5.0
WAIT_LOOK = 0.05
#: Seconds until the next attempt after the store did not answer.
STORE_PAUSE = 1.0
#: Seconds before each attempt to delete a chunk. The counters come first, and wait for open transactions.
COUNTED = (0.0, 0.05, 0.2, 0.75)


class Step(NamedTuple):
    """What became of one chunk."""

    done: int
    skipped: int = 0
    failed: int = 0
    message: str | None = None


class Chunk(NamedTuple):
    """Where an action stands after a chunk: the id of the last job that was visited, and the action's state."""

    cursor: str
    state: str


class Preview(NamedTuple):
    """What an action would do: how many jobs it would visit, and the newest of them."""

    total: int
    sample: Sequence[str]


class Bulks:
    """One per gateway, over its verbs."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._store = control.store
        self._owner = make_owner()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._look: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for actions that other processes left behind."""
        self._look = asyncio.create_task(self._adopt(), name="jobgate-bulk-look")

    async def stop(self) -> None:
        """Leave what is under way to another gateway, or to the next start."""
        tasks = [*self._running.values(), *([self._look] if self._look else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def preview(self, action: Action, wanted: Filter) -> Preview:
        wanted, newest = _narrowed(action, wanted), new_id()
        sample = await self._store.list(wanted, SAMPLE, newest)
        return Preview(await self._store.count(wanted, newest), [job.id for job in sample])

    async def begin(self, action: Action, wanted: Filter, target: str | None = None) -> Bulk:
        """Act on the jobs that are there now. Returns at once; jobs that come or end later are not touched.

        By the database's clock: where it was set back, jobs that ended in its future are not touched either.
        """
        wanted, newest = _narrowed(action, wanted), new_id()
        if STATES[action] == FINAL:
            ended = await self._store.now() + 1
            wanted = structs.replace(wanted, finished_before=min(wanted.finished_before or ended, ended))
        values = {"action": action, "filter": msgspec.json.encode(wanted).decode(), "target": target}
        total = await self._store.count(wanted, newest)
        rows = await self._store.run(bulks.BEGIN, id=newest, total=total, owner=self._owner, lease=LEASE, **values)
        bulk = _bulk(rows[0])
        self._go(bulk)
        return bulk

    async def read(self, bulk_id: str) -> Bulk:
        """The action as it stands, or BulkNotFound."""
        rows = await self._store.run(bulks.READ, id=bulk_id)
        if not rows:
            raise BulkNotFound(f"there is no bulk action {bulk_id}")
        return _bulk(rows[0])

    async def latest(self, limit: int) -> Sequence[Bulk]:
        return [_bulk(row) for row in await self._store.run(bulks.LATEST, n=limit)]

    async def wait(self, bulk: Bulk, seconds: float) -> Bulk:
        """The action once it has ended, or as it stands after that time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while bulk.finished_at is None and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(WAIT_LOOK)
            bulk = await self.read(bulk.id)
        return bulk

    def _go(self, bulk: Bulk) -> None:
        task = asyncio.create_task(self._walk(bulk), name=f"jobgate-bulk-{bulk.id}")
        self._running[bulk.id] = task
        task.add_done_callback(lambda _: self._running.pop(bulk.id))

    async def _adopt(self) -> None:
        while True:
            try:
                await self._take_over()
            except JobgateError as error:
                log.warning("bulk actions wait for the store: %s", error)
            except Exception:  # one that a newer release began must not end the look for the others
                log.exception("a bulk action cannot be taken over; the look for others goes on")
            await asyncio.sleep(LOOK)

    async def _take_over(self) -> None:
        for row in await self._store.run(bulks.TAKE_OVER, owner=self._owner, lease=LEASE):
            bulk = _bulk(row)
            if bulk.id not in self._running:  # after an outage it may be one that is walked here
                self._go(bulk)

    async def _walk(self, bulk: Bulk) -> None:
        wanted, stale = msgspec.json.decode(bulk.filter, type=Filter), False
        while bulk.state == "running":
            try:
                if stale:  # the commit that was not heard may have moved the cursor
                    bulk, stale = await self.read(bulk.id), False
                    continue
                saved = await self._apply(bulk, await self._store.list(wanted, CHUNK, bulk.cursor))
                if saved is None:
                    return
                bulk = saved
            except JobgateError as error:
                log.warning("bulk action %s waits for the store: %s", bulk.id, error)
                stale = True
                await asyncio.sleep(STORE_PAUSE)
            except Exception as error:
                log.exception("bulk action %s ended before it was through", bulk.id)
                words = f"ended before it was through: {type(error).__name__}; the server's log has the reason"
                await self._save(bulk, Chunk(bulk.cursor, "failed"), Step(0, message=words))
                return

    async def _apply(self, bulk: Bulk, jobs: Sequence[Job]) -> Bulk | None:
        """Acts on one chunk. Returns the action with its progress, None where another process has taken it over."""
        chunk = Chunk(jobs[-1].id if jobs else bulk.cursor, "running" if len(jobs) == CHUNK else "done")
        if not jobs:
            return await self._save(bulk, chunk, Step(0))
        if bulk.action is Action.DELETE:
            return await self._delete(bulk, chunk, [[job.id] for job in jobs])
        if bulk.action is Action.RETRY:
            return await self._save(bulk, chunk, await self._retry(bulk, jobs))
        return await self._change(bulk, chunk, jobs)

    async def _change(self, bulk: Bulk, chunk: Chunk, jobs: Sequence[Job]) -> Bulk | None:
        query = Query(bulks.CHANGES[bulk.action], self._params(bulk), rows=[[job.id] for job in jobs])
        progress = Then(lambda rows: self._progress(bulk, chunk, Step(len(rows), len(jobs) - len(rows))))
        rows, saved = await self._run(bulk, query, progress)
        changed = [to_job(row) for row in rows]
        if bulk.action in (Action.MOVE, Action.RELEASE):
            self._store.writer.woken()
        self._store.room_freed(job.limit_name for job in changed)
        if bulk.action is Action.CANCEL:
            self._control.stop_running(changed)
        return saved

    async def _delete(self, bulk: Bulk, chunk: Chunk, rows: list[list[str]]) -> Bulk | None:
        """Delete what the counters have counted; what they do not count in time stays, and is said to."""
        params, here = self._params(bulk), Chunk(bulk.cursor, "running")
        program = [Query(sql, params, rows=rows) for sql in (bulks.DELETE_EVENTS, bulks.DELETE_LOGS, bulks.DELETE)]
        progress = Then(lambda deleted: self._progress(bulk, here, Step(len(deleted))))
        done, left = 0, len(rows)
        for pause in COUNTED:
            await asyncio.sleep(pause)
            await self._store.tallies.fold()
            deleted, saved = await self._run(bulk, *program, progress)
            if saved is None:
                return None
            done += len(deleted)
            left = len(await self._store.writer.run(Query(bulks.LEFT, rows=rows)))
            if not left:
                break
        words = "some jobs ended just now and are not in the counters yet: delete them again later" if left else None
        return await self._save(bulk, chunk, Step(0, len(rows) - done - left, left, words))

    async def _run(self, bulk: Bulk, *program: Item) -> tuple[Rows, Bulk | None]:
        """Runs the statements of a chunk, of which the last saves the progress, in one transaction.

        Returns what the one before the last returned, and the action with its progress.
        """
        answers: list[Rows] = await self._store.writer.run(
            Query(bulks.RENEW, self._params(bulk)), *program, answer=lambda answers: answers
        )
        return answers[-2], _bulk(answers[-1][0]) if answers[-1] else None

    async def _save(self, bulk: Bulk, chunk: Chunk, step: Step) -> Bulk | None:
        """Saves progress. Returns the action, None where another process has taken it over."""
        rows = await self._store.writer.run(self._progress(bulk, chunk, step))
        return _bulk(rows[0]) if rows else None

    def _progress(self, bulk: Bulk, chunk: Chunk, step: Step) -> Query:
        return Query(bulks.PROGRESS, {**self._params(bulk), **chunk._asdict(), **step._asdict()})

    def _params(self, bulk: Bulk) -> dict[str, Any]:
        """The parameters of a chunk's statements; each takes those that it names."""
        return {
            "id": bulk.id,
            "owner": self._owner,
            "lease": LEASE,
            "grace": self._control.grace,
            "target": bulk.target,
        }

    async def _retry(self, bulk: Bulk, jobs: Sequence[Job]) -> Step:
        """Makes the new job of each. Its id follows from the action's, so a chunk that is repeated changes nothing."""
        outcomes = await asyncio.gather(*(self._retry_one(job, _twin(bulk, job)) for job in jobs))
        refused = [words for words in outcomes if words]
        return Step(outcomes.count(""), outcomes.count(None), len(refused), refused[-1] if refused else None)

    async def _retry_one(self, job: Job, twin: str) -> str | None:
        """Returns "" where this action made the new job, None if the old one is gone, else why it was refused."""
        try:
            await self._control.retry(job.id, twin)
        except JobNotFound:
            return None
        except StateConflict:
            return "" if await self._store.get(twin) else None
        except StoreUnavailable:
            raise
        except JobgateError as error:
            return f"job {job.id}: {error.detail}"
        return ""


def _narrowed(action: Action, wanted: Filter) -> Filter:
    """The jobs of the filter to which the action means something."""
    states = STATES[action]
    status = [State(name) for name in wanted.status if name in states] if wanted.status else sorted(states)
    held = {Action.HOLD: False, Action.RELEASE: True}.get(action, wanted.held)
    # A state that no job has: a filter for other states than these finds nothing, and not everything.
    return structs.replace(wanted, status=status or ["none"], held=held)


def _twin(bulk: Bulk, job: Job) -> str:
    """The id of the job that this action makes of that one: the same, however often it is tried."""
    number = int.from_bytes(blake2b(f"{bulk.id}/{job.id}".encode(), digest_size=16).digest(), "big")
    mask = (1 << 62) - 1
    # A millisecond later than the action itself, which visits older jobs only.
    head = (UUID(bulk.id).int + (1 << 80)) & ~mask & ~(0xFFF << 64)
    return str(UUID(int=head | (number & mask) | (number >> 64 & 0xFFF) << 64))


def _bulk(row: Sequence[Any]) -> Bulk:
    values = dict(zip(Bulk.__struct_fields__, row, strict=True))
    return Bulk(**{**values, "action": Action(values["action"])})
