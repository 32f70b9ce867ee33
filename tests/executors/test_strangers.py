"""Tasks that a process does not know, and limits that a release has lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from executors.base import Patience
from executors.celery_doorbell import UNKNOWN, Ring
from executors.celery_executor import CeleryExecutor
from executors.heartbeat import Heartbeat
from executors.keeper import Claimer
from executors.runner import Runner
from executors.strangers import Strangers
from executors.thread_executor import ThreadExecutor
from tasks import task
from tasks.job import Job, Mode, State
from tasks.registry import Registry
from tasks.store.store import JobStore, open_store
from tests.store.support import new_job, worker
from tests.support.waiting import eventually_async

PATIENCE = 30.0


@task(name="strangers.old")
def old() -> None:
    """Known to every release."""


@task(name="strangers.new")
def new() -> str:
    """Known to the new release only."""
    return "done"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    store = await open_store(f"sqlite:///{tmp_path}/jobs.db", Mode.THREAD)
    yield store
    await store.stop()


@pytest.fixture
async def gateway(store: JobStore, clock: Clock) -> AsyncIterator[Callable[..., ThreadExecutor]]:
    """Makes the threads of a gateway that knows these tasks."""
    made: list[ThreadExecutor] = []

    def make(*tasks: object) -> ThreadExecutor:
        claimer = Claimer(owner=f"tests/{len(made)}", mode="thread", lease=10.0, grace=1.0)
        registry = Registry(tasks)  # type: ignore[arg-type]  # tasks
        runner = Runner(registry, 1 << 20)
        threads = ThreadExecutor(store, runner, claimer, 2, [["q"]], strangers=Strangers(PATIENCE, clock=clock))
        threads.heartbeat = Heartbeat(store, claimer, "gateway@tests", "threads", threads, registry)
        made.append(threads)
        return threads

    yield make
    for threads in made:
        await threads.stop(1.0)


async def accept(store: JobStore, name: str, **fields: object) -> str:
    job = new_job(task=name, arguments="[[],{}]", **fields)
    await store.accept(job)
    return job.id


async def becomes(store: JobStore, job_id: str, status: State) -> Job:
    async def look() -> bool:
        return (await read(store, job_id)).status is status

    await eventually_async(look, within=20)
    return await read(store, job_id)


async def read(store: JobStore, job_id: str) -> Job:
    job = await store.get(job_id)
    assert job is not None
    return job


async def test_a_job_of_an_unknown_task_waits_for_somebody_who_knows_it(
    store: JobStore, gateway: Callable[..., ThreadExecutor], clock: Clock
) -> None:
    behind = gateway(old)
    await behind.start()
    job = await accept(store, "strangers.new")
    for _ in range(3):  # jobs behind it are not held up
        await becomes(store, await accept(store, "strangers.old"), State.SUCCESS)
    clock.now += PATIENCE - 1
    await becomes(store, await accept(store, "strangers.old"), State.SUCCESS)
    waiting = await read(store, job)
    assert (waiting.status, waiting.failures, waiting.losses) == (State.PENDING, 0, 0)
    assert waiting.attempt <= 1, "met once, not again and again"
    await gateway(old, new).start()
    assert (await becomes(store, job, State.SUCCESS)).result == '"done"'


async def test_it_is_left_to_those_who_know_it_however_long_they_take(
    store: JobStore, gateway: Callable[..., ThreadExecutor], clock: Clock
) -> None:
    await store.beat(worker("elsewhere", tasks=("strangers.new",)))
    behind = gateway(old)
    await behind.start()
    job = await accept(store, "strangers.new")
    await becomes(store, await accept(store, "strangers.old"), State.SUCCESS)
    clock.now += 100 * PATIENCE

    async def seen() -> bool:
        return behind._strangers.skipped == ("strangers.new",)

    await eventually_async(seen, within=20)
    await becomes(store, await accept(store, "strangers.old"), State.SUCCESS)
    assert (await read(store, job)).status is State.PENDING


@pytest.mark.parametrize("limit", ["", "strangers.new"])
async def test_what_nobody_knows_for_long_ends_as_unknown(
    store: JobStore, gateway: Callable[..., ThreadExecutor], clock: Clock, limit: str
) -> None:
    await store.set_limit("strangers.new", 1.0, None)
    behind = gateway(old)
    await behind.start()
    job = await accept(store, "strangers.new", limit_name=limit)

    async def met() -> bool:
        return bool(behind._strangers.skipped) and (await read(store, job)).status is State.PENDING

    await eventually_async(met, within=20)
    clock.now += PATIENCE
    ended = await becomes(store, job, State.FAILURE)
    assert ended.error_code == "unknown_task"
    assert ended.attempt == 2


async def test_jobs_of_a_task_that_lost_its_limit_run(store: JobStore, gateway: Callable[..., ThreadExecutor]) -> None:
    await store.set_limit("strangers.old", 3_600_000.0, 1)
    jobs = [await accept(store, "strangers.old", limit_name="strangers.old") for _ in range(3)]
    await store.lift_limits(["strangers.old"])
    await gateway(old).start()
    for job in jobs:
        await becomes(store, job, State.SUCCESS)


class Bell:
    """A doorbell that writes down what it was to ring."""

    error = None
    away_since = None
    #: Nothing lies at the broker any more, in whichever queue.
    emptied = frozenset({"q", "r"})
    doubtful: Sequence[str] = ()

    def __init__(self) -> None:
        self.rings: list[Ring] = []

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def ring(self, rings: Sequence[Ring]) -> None:
        self.rings += rings


@pytest.fixture
async def relay(store: JobStore, clock: Clock) -> AsyncIterator[CeleryExecutor]:
    strangers = Strangers(PATIENCE, clock=clock)
    relay = CeleryExecutor(store, "redis://127.0.0.1:1/0", [["q", "r"]], Patience(), strangers)
    relay._doorbell = Bell()  # type: ignore[assignment]  # the seam
    yield relay
    await relay.stop(0)


def rung(relay: CeleryExecutor) -> dict[str, str]:
    bell = relay._doorbell
    assert isinstance(bell, Bell)
    return {ring.job_id: ring.task for ring in bell.rings}


async def test_the_relay_waits_for_a_worker_that_knows_the_task(
    store: JobStore, relay: CeleryExecutor, clock: Clock
) -> None:
    await store.beat(worker("w", mode="celery", tasks=("strangers.old",), slots=4))
    await relay.start()
    job = await accept(store, "strangers.new")
    other = await accept(store, "strangers.old")
    third = await accept(store, "strangers.never")

    async def told() -> bool:
        return other in rung(relay) and len(relay._strangers.skipped) == 2 and not (await read(store, job)).rung_at

    await eventually_async(told, within=20)
    assert rung(relay) == {other: "strangers.old"}
    await store.beat(worker("v", mode="celery", tasks=("strangers.new",)))

    async def rung_by_name() -> bool:
        return rung(relay).get(job) == "strangers.new"

    await eventually_async(rung_by_name, within=20)
    clock.now += PATIENCE

    async def rung_as_unknown() -> bool:
        return rung(relay).get(third) == UNKNOWN

    await eventually_async(rung_as_unknown, within=20)


async def test_an_idle_slot_is_evidence_for_its_own_queues_only(
    store: JobStore, relay: CeleryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executors.celery_executor.LOST_AFTER", 0.05)
    monkeypatch.setattr("executors.celery_executor.LOST_PAUSE", 0.05)
    await store.beat(worker("busy", mode="celery", queues=("q",), busy=1))
    await store.beat(worker("idle", mode="celery", queues=("r",)))
    await relay.start()
    jobs = {queue: await accept(store, "t", queue=queue) for queue in ("q", "r")}

    async def again() -> bool:
        bell = relay._doorbell
        assert isinstance(bell, Bell)
        return sum(ring.job_id == jobs["r"] for ring in bell.rings) >= 2

    await eventually_async(again, within=20)
    bell = relay._doorbell
    assert isinstance(bell, Bell)
    assert sum(ring.job_id == jobs["q"] for ring in bell.rings) == 1


async def test_a_limited_job_in_a_queue_that_the_relay_does_not_know_is_left_to_others(
    store: JobStore, relay: CeleryExecutor
) -> None:
    await store.set_limit("strangers.new", 1.0, None)
    await store.set_limit("strangers.old", 1.0, None)
    both = ("strangers.new", "strangers.old")
    await store.beat(worker("w", mode="celery", tasks=both, queues=("q", "elsewhere"), slots=4))
    other = await accept(store, "strangers.new", limit_name="strangers.new", queue="elsewhere")
    job = await accept(store, "strangers.old", limit_name="strangers.old", queue="q")
    await relay.start()

    async def told() -> bool:
        return job in rung(relay)

    await eventually_async(told, within=20)
    assert rung(relay) == {job: "strangers.old"}
    assert (await read(store, other)).rung_at is None


async def test_a_verdict_that_crosses_with_the_workers_own_word_does_not_stay(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = CeleryExecutor(store, "redis://127.0.0.1:1/0", [["q"]], Patience(), Strangers())
    await store.beat(worker("w", mode="celery"))

    async def written(verdict: set[str], draining: bool = False) -> bool:
        monkeypatch.setattr(relay._ears, "deaf", lambda patience, now: dict.fromkeys(verdict, "celery@host"))
        await relay._call_deaf(0, {instance} if draining else set())
        return (await store.workers())[0].deaf

    instance = (await store.workers())[0].instance
    assert await written({instance})
    assert await written(set(), draining=True), "its children need the mark to end a parent that hangs"
    assert not await written(set())
