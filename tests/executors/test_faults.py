"""Faults that a review found, each as it was found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from executors import identity
from executors.base import Patience
from executors.body import SIGNAL, MainSeat
from executors.celery_executor import CeleryExecutor
from executors.crew import Crew
from executors.heartbeat import Heartbeat
from executors.keeper import Claimer, Keeper, Running
from executors.runner import Runner
from executors.settling import Settling
from executors.strangers import Strangers
from executors.thread_executor import ThreadExecutor
from tasks import task
from tasks.admission import Admission, Defaults
from tasks.context import Context
from tasks.errors import Cancelled, LeaseLost, Retry, StoreUnavailable
from tasks.job import Attempt, Filter, Mode, State, Submission
from tasks.registry import Registry
from tasks.step import Step, succeed
from tasks.store.backend import Refused
from tasks.store.store import JobStore, open_store
from tasks.worker import WorkerState
from tests.store.support import worker
from tests.support.waiting import eventually_async

SLOTS = 4
QUEUE = "celery"


@task(name="faults.plain")
def plain() -> None:
    """A job without a limit, and just long enough that slots are busy while others are asked for."""
    time.sleep(0.005)


@task(name="faults.limited", rate_limit="200/s")
def limited() -> None:
    """A job that must pass a limit."""


GATE = threading.Event()


@task(name="faults.stubborn", time_limit=0.2, soft_time_limit=0.1)
def stubborn() -> None:
    """Ends when it likes."""
    while not GATE.is_set():
        with contextlib.suppress(BaseException):
            GATE.wait(0.01)


REGISTRY = Registry([plain, limited, stubborn])
CLAIMER = Claimer(owner="tests/faults", mode="thread", lease=10.0, grace=1.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    store = await open_store(f"sqlite:///{tmp_path}/jobs.db", Mode.THREAD)
    await store.set_limit("faults.limited", limited.rate, None)
    yield store
    await store.stop()


async def accept(store: JobStore, name: str, number: int) -> None:
    admission = Admission(REGISTRY, Defaults())
    await store.accept_many([admission.admit(Submission(task=name)) for _ in range(number)])


async def all_ended(store: JobStore) -> bool:
    return not await store.list(Filter(status=("PENDING", "STARTED", "RETRY")), 1)


async def test_limited_and_plain_jobs_together_never_claim_more_than_the_slots(store: JobStore) -> None:
    executor = ThreadExecutor(store, Runner(REGISTRY, 1 << 20), CLAIMER, SLOTS, [[QUEUE]])
    await accept(store, "faults.limited", 100)
    await accept(store, "faults.plain", 600)
    busy: list[int] = []

    async def look() -> bool:
        busy.append(executor.busy)
        return await all_ended(store)

    await executor.start()
    await eventually_async(look, within=30)
    await executor.stop(1.0)
    assert 0 < max(busy) <= SLOTS
    assert executor.busy == 0, "every reserved slot came back"


async def test_a_stop_while_jobs_are_being_claimed_leaves_none_behind(store: JobStore) -> None:
    for _ in range(5):
        executor = ThreadExecutor(store, Runner(REGISTRY, 1 << 20), CLAIMER, SLOTS, [[QUEUE]])
        await executor.start()
        accepting = asyncio.ensure_future(accept(store, "faults.plain", 200))
        await asyncio.sleep(0)  # the transaction that accepts them, and claims for the slots, is under way
        await executor.stop(0.0)
        await accepting
        store.writer.takers.remove(executor)
        assert not await store.list(Filter(status=("STARTED",)), 1), "given back, not left to the reaper"
        assert not [job for job in await store.list(Filter(), 1000) if job.losses], "and no budget is used"


async def test_a_pool_that_is_closed_while_it_claims_has_all_its_slots_when_it_opens_again(store: JobStore) -> None:
    executor = ThreadExecutor(store, Runner(REGISTRY, 1 << 20), CLAIMER, SLOTS, [[QUEUE]])
    await executor.start()
    for _ in range(5):
        accepting = asyncio.ensure_future(accept(store, "faults.plain", 50))
        await asyncio.sleep(0)  # the transaction that claims for the slots is under way
        await executor.close(0.0)
        await accepting
        executor.open()

    async def look() -> bool:
        return await all_ended(store) and executor.busy == 0

    await eventually_async(look, within=30)
    await executor.stop(1.0)


async def test_a_body_that_was_given_up_is_counted_until_it_ends(store: JobStore) -> None:
    executor = ThreadExecutor(store, Runner(REGISTRY, 1 << 20), CLAIMER, SLOTS, [[QUEUE]])
    await executor.start()
    await accept(store, "faults.stubborn", 2)

    async def given_up() -> bool:
        return executor.abandoned == 2 and executor.busy == 0

    async def ended() -> bool:
        return executor.abandoned == 0

    await eventually_async(given_up, within=10)
    GATE.set()
    await eventually_async(ended, within=10)
    await executor.stop(1.0)


async def test_a_drain_claims_nothing_more_and_loses_nothing_of_what_runs(store: JobStore) -> None:
    executor = ThreadExecutor(store, Runner(REGISTRY, 1 << 20), CLAIMER, SLOTS, [[QUEUE]])
    executor.heartbeat = Heartbeat(store, CLAIMER, "gateway@tests", "threads", executor, REGISTRY)
    await executor.start()
    await accept(store, "faults.plain", SLOTS)
    executor.drain()
    await accept(store, "faults.plain", 5)

    async def idle() -> bool:
        return executor.busy == 0

    await eventually_async(idle, within=10)
    await executor.heartbeat.beat()
    assert [worker.draining for worker in await store.workers()] == [True]
    await executor.stop(1.0)
    jobs = await store.list(Filter(), 100)
    assert [job.status for job in jobs if job.attempt] == [State.SUCCESS] * SLOTS
    assert [job.status for job in jobs if not job.attempt] == [State.PENDING] * 5


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "silent"])
async def test_an_attempt_that_lost_its_lease_goes_back_to_wait_and_is_not_called_cancelled(silent: bool) -> None:
    class Away:
        """A store that refuses, or says nothing at all."""

        async def renew(self, *_: object) -> None:
            if silent:
                await asyncio.Event().wait()
            raise StoreUnavailable

        async def cancelled(self, _: str) -> list[str]:
            raise StoreUnavailable

    steps: list[Step] = []
    told: list[type[BaseException]] = []
    short = Claimer(owner="tests/faults", mode="thread", lease=0.1, grace=0.1)
    keeper = Keeper(Away(), short, lambda running, step: steps.append(step))  # type: ignore[arg-type]  # the seam
    attempt = Attempt("id", "faults.plain", QUEUE, 0, "[[],{}]", 1, 0, 0, 3, 3, None, None, 0, "tests/faults")
    keeper.start()
    keeper.begin(Running(attempt, Context(attempt), told.append))

    async def given_up() -> bool:
        return bool(steps)

    await eventually_async(given_up, within=5)
    await keeper.stop()
    assert told == [LeaseLost], "told once"
    assert (steps[0].name, steps[0].target) == ("interrupt", State.PENDING)


def test_a_living_process_is_never_called_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not identity.is_dead(identity.make_owner())
    assert not identity.is_dead(identity.make_owner("w/1@host"))
    hidden = identity.make_owner()
    monkeypatch.setattr(identity, "_start_of", lambda pid: None)  # a /proc that cannot be read
    assert not identity.is_dead(hidden)
    gone = hidden.split("/")
    gone[2] = str(_unused_pid())
    assert identity.is_dead("/".join(gone))
    assert identity.is_dead("/".join([*gone, "w/1@host"]))
    monkeypatch.setattr(identity, "_BOOT", tmp_path / "none")
    assert not identity.is_dead(identity.make_owner())


def test_an_owner_is_shown_by_its_workers_name() -> None:
    assert identity.shown_owner(identity.make_owner("w/1@host")) == f"w/1@host (pid {os.getpid()})"
    assert identity.shown_owner(identity.make_owner()) == f"{identity.host()} (pid {os.getpid()})"
    assert identity.shown_owner("hand") == "hand"


def _unused_pid() -> int:
    for pid in range(4_000_000, 4_000_100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return pid
        except OSError:
            continue
    raise AssertionError("no free process number")


@pytest.mark.parametrize("countdown", [-1.0, float("inf"), float("nan")])
def test_a_retry_with_an_impossible_countdown_fails_where_it_is_made(countdown: float) -> None:
    with pytest.raises(ValueError, match="countdown takes seconds"):
        Retry(countdown=countdown)


class Doubtful:
    """A store that refuses, or is away, as often as it is told; then it answers."""

    def __init__(self, *answers: Exception | State) -> None:
        self.answers = list(answers)
        self.tries: list[Step] = []
        self.counted = 0

    async def run(self, _: str) -> None:
        self.counted += 1

    async def settle(self, step: Step) -> State:
        self.tries.append(step)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class NoReports:
    """Nothing was reported."""

    def pending(self, *_: object) -> bool:
        return False


def settling_on(store: Doubtful, patience: float) -> Settling:
    return Settling(store, NoReports(), patience)  # type: ignore[arg-type]  # the seam


def outcome() -> Step:
    attempt = Attempt("id", "faults.plain", QUEUE, 0, "[[],{}]", 1, 0, 0, 3, 3, None, None, 0, "tests/faults")
    return succeed(attempt, "1", 0.1)


async def test_an_outcome_outlives_an_outage_that_is_longer_than_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.settling.PAUSE", 0.001)
    store = Doubtful(*[StoreUnavailable("away")] * 50, State.SUCCESS)
    assert await settling_on(store, 0.01).settle(outcome()) is State.SUCCESS
    assert len(store.tries) == 51


async def test_a_process_that_must_end_drops_what_the_store_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.settling.PAUSE", 0.001)
    store = Doubtful(StoreUnavailable("away"))
    settling = settling_on(store, 0.05)
    waiting = asyncio.ensure_future(settling.settle(outcome()))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        settling.hurry()
        assert await waiting is None
    assert store.counted == 0, "nobody else ended the job"


async def test_an_outcome_that_is_refused_twice_is_not_tried_for_ever() -> None:
    store = Doubtful(Refused("no such value"))
    async with asyncio.timeout(10):
        assert await settling_on(store, 10.0).settle(outcome()) is None
    assert [step.name for step in store.tries] == ["succeed", "fail"]


def test_what_comes_too_late_for_one_body_does_not_hit_the_next() -> None:
    before = signal.getsignal(SIGNAL)
    MainSeat.listen()
    try:
        early, late = MainSeat(), MainSeat()
        assert early.run(lambda: 1) == 1

        def body() -> int:
            early.interrupt(LeaseLost)
            return sum(1 for _ in range(1_000))  # bytecode in which a signal would be noticed

        assert late.run(body) == 1_000
        early.interrupt(LeaseLost)  # nobody sits there
        with pytest.raises(LeaseLost):
            early.run(lambda: 1)
        with pytest.raises(Cancelled):
            late.run(lambda: (late.interrupt(Cancelled), sum(1 for _ in range(1_000))))
    finally:
        signal.signal(SIGNAL, before)


async def test_a_relay_that_is_woken_while_it_is_stopped_ends(store: JobStore, redis_url: str) -> None:
    relay = CeleryExecutor(store, redis_url, [[QUEUE]], Patience(), Strangers())
    await relay.start()
    for _ in range(20):
        await asyncio.sleep(0)
    relay.taken(None)  # a transaction of the writer was committed just now
    ended, _ = await asyncio.wait([asyncio.create_task(relay.stop(0))], timeout=5)
    assert ended


async def test_a_process_of_this_host_that_is_gone_is_lost_at_once(store: JobStore) -> None:
    here = identity.make_owner("w@host")
    parts = here.split("/")
    gone = "/".join([*parts[:2], "4194304", *parts[3:]])
    elsewhere = "/".join(["elsewhere", *parts[1:]])
    for owner in (here, gone, elsewhere):
        await store.beat(worker(owner))
    states = {process.owner: state for process, state in await Crew(store).registry()}
    assert states == {here: WorkerState.UP, gone: WorkerState.LOST, elsewhere: WorkerState.UP}
