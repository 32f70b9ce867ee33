"""The figures of bulk actions are exact: whatever other callers do meanwhile, and wherever the process is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import structs

from executors import bulk as bulks
from executors.control import Control
from tasks.bulk import STATES, Action, Bulk
from tasks.errors import StoreUnavailable
from tasks.job import FINAL, Filter, Job, State, Submission
from tasks.store.store import JobStore
from tests.gateway.support import Hand, make_control

ENDED = (Action.DELETE, Action.RETRY)
WANTED = Filter(queue=["celery"])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulks, "CHUNK", 2)
    monkeypatch.setattr(bulks, "STORE_PAUSE", 0.0)


async def _make(control: Control, hand: Hand, action: Action, count: int, queue: str = "celery") -> list[str]:
    """Jobs of the kind that the action changes; of those to cancel every second one runs."""
    wish = Submission(task="tests.read", kwargs={"path": "a"}, queue=queue)
    ids = [job.id for job in await control.submit_many([wish] * count)]
    for n, job_id in enumerate(ids):
        if action in ENDED:
            await hand.fail(job_id)
        elif action is Action.CANCEL and n % 2 == 0:
            await hand.claim(job_id)
        elif action is Action.RELEASE:
            await control.hold(job_id)
    return ids


def _target(action: Action) -> str | None:
    return "low" if action is Action.MOVE else None


def _visited(bulk: Bulk) -> int:
    return bulk.done + bulk.skipped + bulk.failed


async def _changed(control: Control, hand: Hand, action: Action, ids: Sequence[str]) -> int:
    """How many of these jobs carry the mark of the action, by the store."""
    found = [await hand.store.get(job_id) for job_id in ids]
    if action is Action.DELETE:
        return found.count(None)
    if action is Action.RETRY:
        return len(await control.list(Filter(queue=["celery"], status=[State.PENDING]), 100))
    marks: dict[Action, Callable[[Job], bool]] = {
        Action.CANCEL: lambda job: job.cancel_requested_at is not None,
        Action.PURGE: lambda job: job.status is State.REVOKED,
        Action.HOLD: lambda job: job.held,
        Action.RELEASE: lambda job: not job.held,
        Action.MOVE: lambda job: job.queue == "low",
    }
    return sum(job is not None and marks[action](job) for job in found)


@pytest.mark.parametrize("action", Action)
async def test_the_count_is_never_below_what_was_done_and_equal_at_the_end(
    store: JobStore, control: Control, hand: Hand, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await _make(control, hand, action, 5)
    waiting = [job.id for job in await control.submit_many([Submission(task="tests.read", kwargs={"path": "b"})] * 3)]
    late = waiting if action in ENDED else await _make(control, hand, action, 3, "high")
    for job_id in waiting if action not in ENDED else ():
        await store.run("DELETE FROM jobs WHERE id = :id", id=job_id)
    count = store.count

    async def count_then_others_act(wanted: Filter, before: str) -> int:
        counted = await count(wanted, before)
        await store.run("DELETE FROM jobs WHERE id = :id", id=ids[0])
        for job_id in late:
            if action in ENDED:
                await hand.fail(job_id)
            else:
                await store.run("UPDATE jobs SET queue = 'celery' WHERE id = :id", id=job_id)
        return counted

    apply, progress = control.bulks._apply, []

    async def watched(bulk: Bulk, jobs: Sequence[Job]) -> Bulk | None:
        saved = await apply(bulk, jobs)
        progress.append(saved)
        return saved

    monkeypatch.setattr(store, "count", count_then_others_act)
    monkeypatch.setattr(control.bulks, "_apply", watched)
    bulk = await control.bulks.wait(await control.bulks.begin(action, WANTED, _target(action)), 10.0)
    assert bulk.state == "done"
    assert all(saved is not None and _visited(saved) <= saved.total for saved in progress)
    assert bulk.total == _visited(bulk) == bulk.done
    # Jobs that end after the start are not deleted or retried unseen; those that were moved in are among the others.
    assert bulk.done == len(ids) - 1 + (0 if action in ENDED else len(late))


class Interrupted:
    """The writer of a store whose nth transaction from now is committed, and its caller never hears of it."""

    def __init__(self, store: JobStore, nth: int, error: Exception | None) -> None:
        self._run, self._nth, self._error = store.writer.run, nth, error
        self.reached = asyncio.Event()

    def run(self, *program: Any, **options: Any) -> Any:
        committed = self._run(*program, **options)
        self._nth -= 1
        return self._lost(committed) if self._nth == 0 else committed

    async def _lost(self, committed: Any) -> Any:
        await committed
        self.reached.set()
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()


@pytest.mark.parametrize("error", [None, StoreUnavailable("not heard")], ids=["killed", "unheard"])
@pytest.mark.parametrize("action", Action)
async def test_the_figures_are_exact_wherever_the_process_is_interrupted(
    control: Control, hand: Hand, action: Action, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulks, "LEASE", -1)
    for nth in range(1, 50):
        ids = await _make(control, hand, action, 5)
        bulk = await control.bulks.begin(action, WANTED, _target(action))
        interrupted = Interrupted(hand.store, nth, error)
        with monkeypatch.context() as patch:
            patch.setattr(hand.store.writer, "run", interrupted.run)
            walk = control.bulks._running[bulk.id]
            reached = asyncio.create_task(interrupted.reached.wait())
            await asyncio.wait({walk, reached}, return_when=asyncio.FIRST_COMPLETED)
            ended = not reached.done()
            reached.cancel()
        if error is None:
            await control.bulks.stop()
            control = make_control(hand.store, hand)
            await control.bulks._take_over()
        bulk = await control.bulks.wait(bulk, 10.0)
        changed = await _changed(control, hand, action, ids)
        assert (bulk.state, bulk.total, bulk.done, bulk.skipped, bulk.failed) == ("done", 5, 5, 0, 0)
        assert changed == 5
        await hand.store.run("DELETE FROM jobs")
        if ended:
            break
    assert nth > 2, "no transaction was interrupted"


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.RETRY])
async def test_a_process_whose_action_was_taken_over_changes_no_job(
    control: Control, hand: Hand, action: Action
) -> None:
    ids = await _make(control, hand, action, 3)
    begun = await control.bulks.begin(action, WANTED, _target(action))
    walk = control.bulks._running[begun.id]
    taken = hand.store.run("UPDATE bulks SET owner = 'another' WHERE id = :id", id=begun.id)
    await asyncio.gather(taken, walk)
    bulk = await control.bulks.read(begun.id)
    assert structs.replace(bulk, created_at=begun.created_at) == begun
    assert await _changed(control, hand, action, ids) == 0


def test_the_actions_on_ended_jobs_are_known() -> None:
    assert {action for action, states in STATES.items() if states == FINAL} == set(ENDED)
