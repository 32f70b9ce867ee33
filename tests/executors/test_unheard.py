"""Claims whose commit happened and was not heard: nobody waits for the lease, and no budget is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from executors.carrier import Carrier
from executors.keeper import Claimer
from executors.runner import Runner
from executors.settings import Settings
from executors.thread_executor import ThreadExecutor
from executors.word import Role, Word
from tasks import task
from tasks.admission import Admission, Defaults
from tasks.errors import StoreUnavailable
from tasks.job import Attempt, Job, Mode, State, Submission
from tasks.registry import Registry
from tasks.store.backend import Item, Rows
from tasks.store.store import JobStore, open_store
from tests.support.waiting import eventually, eventually_async

#: Nobody's lease runs out while these tests run.
LEASE = 600.0


@task(name="unheard.once", max_losses=0, max_retries=0)
def once() -> str:
    """A job that must not be taken for lost."""
    return "ran"


@task(name="unheard.limited", max_losses=0, max_retries=0, concurrency=1)
def limited() -> str:
    """The same behind a limit."""
    return "ran"


REGISTRY = Registry([once, limited])


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, make_database: Callable[[str], str]) -> str:
    return make_database(request.param)


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    store = await open_store(url, Mode.THREAD)
    await store.set_limit("unheard.limited", None, 1)
    yield store
    await store.stop()


class Lost:
    """Loses the answer of the first transaction that claims a job, after its commit."""

    def __init__(self) -> None:
        self.answers = 0

    def check(self, results: list[Rows]) -> None:
        for rows in results:
            if rows and len(rows[0]) == len(Attempt.__struct_fields__) and not self.answers:
                self.answers += 1
                raise StoreUnavailable("the answer was lost")

    def lay_into(self, backend: Any) -> None:
        transact, outside = backend.transact, backend.transact_outside

        async def transact_(program: Sequence[Item]) -> list[Rows]:
            results: list[Rows] = await transact(program)
            self.check(results)
            return results

        def outside_(program: Sequence[Item]) -> list[Rows]:
            results: list[Rows] = outside(program)
            self.check(results)
            return results

        backend.transact, backend.transact_outside = transact_, outside_


async def _accept(store: JobStore, name: str) -> str:
    (job,) = [Admission(REGISTRY, Defaults()).admit(Submission(task=name))]
    await store.accept(job)
    return job.id


def _is_unharmed(job: Job) -> None:
    assert (job.status, job.attempt, job.losses, job.failures) == (State.SUCCESS, 2, 0, 0)


@pytest.mark.parametrize("name", ["unheard.once", "unheard.limited"])
async def test_the_threads_take_up_what_they_claimed_without_hearing_of_it(store: JobStore, name: str) -> None:
    claimer = Claimer(owner="tests/unheard", mode="thread", lease=LEASE, grace=1.0)
    job_id = await _accept(store, name)
    lost = Lost()
    lost.lay_into(store._backend)
    executor = ThreadExecutor(store, Runner(REGISTRY, 1 << 20), claimer, 2, [["celery"]])
    await executor.start()

    async def ended() -> bool:
        job = await store.get(job_id)
        return job is not None and job.status is State.SUCCESS

    await eventually_async(ended, within=20)
    job = await store.get(job_id)
    assert job is not None
    _is_unharmed(job)
    assert lost.answers == 1
    await executor.stop(1.0)


@pytest.mark.parametrize("name", ["unheard.once", "unheard.limited"])
async def test_a_worker_process_gives_back_what_it_claimed_without_hearing_of_it(
    store: JobStore, url: str, tmp_path: Path, name: str
) -> None:
    job_id = await _accept(store, name)
    settings = Settings.from_env(
        {"DATABASE_URL": url, "USE_CELERY": "1", "JOBGATE_LEASE": str(LEASE), "FILES_ROOT": str(tmp_path)}
    )
    word = Word(["celery"])
    role = Role("test@host", "", 1, "solo", word, lambda command: None, lambda deaf: None)
    await asyncio.to_thread(_claim_twice, Carrier(settings, REGISTRY, role), job_id)
    job = await store.get(job_id)
    assert job is not None
    _is_unharmed(job)


def _claim_twice(carrier: Carrier, job_id: str) -> None:
    try:
        Lost().lay_into(carrier._store._backend)
        with pytest.raises(StoreUnavailable):
            carrier.carry(job_id)
        eventually(lambda: carrier.state_of(job_id) is State.PENDING, 20, "the job was given back")
        carrier.carry(job_id)
    finally:
        carrier.stop()
