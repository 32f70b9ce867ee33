"""The writer: nobody is answered before the commit, one bad row harms nobody else, nothing in flight is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tasks import step
from tasks.errors import StoreUnavailable
from tasks.job import Attempt, State
from tasks.store import statements
from tasks.store.backend import Item, Query, Refused, Rows
from tests.store.support import ME, Bench, new_job

POISON: list[dict[str, Any]] = [
    {"priority": 10},
    {"queue": None},
    {"delay": 2**63},
    {"queue": "\ud800"},
    {"task": object()},
]


@pytest.mark.parametrize("poison", POISON, ids=[f"{n}-{next(iter(poison))}" for n, poison in enumerate(POISON)])
async def test_a_job_that_the_database_refuses_takes_no_other_with_it(bench: Bench, poison: dict[str, Any]) -> None:
    jobs = [new_job() for _ in range(20)]
    writes = [bench.store.accept(job) for job in jobs]
    writes.insert(7, bench.store.accept(new_job(**poison)))
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(outcomes.pop(7), Refused)
    assert outcomes == [bench.now] * 20
    assert set(await bench.take(["q"])) == {job.id for job in jobs}


async def test_a_result_that_the_database_refuses_takes_no_other_with_it(bench: Bench) -> None:
    attempts = [await bench.started() for _ in range(8)]
    results = ['"\ud800"' if n == 3 else "1" for n in range(8)]
    steps = [step.succeed(attempt, result, 0.1) for attempt, result in zip(attempts, results, strict=True)]
    outcomes = await asyncio.gather(*map(bench.store.settle, steps), return_exceptions=True)
    assert isinstance(outcomes.pop(3), Refused)
    assert outcomes == [State.SUCCESS] * 7
    assert await bench.status(attempts[3].id) is State.STARTED


async def test_a_batch_is_written_whole_or_not_at_all(bench: Bench) -> None:
    good = new_job()
    with pytest.raises(Refused):
        await bench.store.accept_many([good, new_job(priority=10)])
    assert await bench.store.get(good.id) is None


async def test_an_id_that_stands_already_is_refused(bench: Bench) -> None:
    job_id = await bench.accept()
    outcomes = await asyncio.gather(
        bench.accept(), bench.store.accept(new_job(id=job_id)), bench.accept(), return_exceptions=True
    )
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [False, True, False]


async def test_under_one_idempotency_key_one_job_is_accepted(bench: Bench) -> None:
    jobs = [new_job(idempotency_key="k", fingerprint=f"f{n}") for n in range(5)]
    moments = await asyncio.gather(*map(bench.store.accept_once, jobs))
    assert moments == [bench.now, None, None, None, None]
    found = await bench.store.find_by_key("k")
    assert found is not None
    assert (found[0].id, found[1]) == (jobs[0].id, "f0")
    assert await bench.store.find_by_key("other") is None


class Recorder:
    """A taker that wants whatever it is asked for."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.rows: list[Rows | None] = []

    def wanted(self, accepting: bool) -> Sequence[Item]:
        return [self.query] if accepting else ()

    def taken(self, answers: Sequence[Rows] | None) -> None:
        self.rows.append(None if answers is None else answers[0])


async def test_a_taker_claims_in_the_transaction_that_accepts(bench: Bench) -> None:
    taker = Recorder(Query(statements.take([["q"]]), {**ME, "n": 2, "q0": "q"}))
    bench.store.writer.takers.append(taker)
    ids = [await bench.accept(), await bench.accept()]
    assert [[row[0] for row in rows or ()] for rows in taker.rows] == [[ids[0]], [ids[1]]]


async def test_a_taker_that_fails_takes_no_write_with_it(bench: Bench) -> None:
    taker = Recorder(Query("UPDATE jobs SET priority = 10"))
    bench.store.writer.takers.append(taker)
    job_id = await bench.accept()
    assert taker.rows == [None]
    assert await bench.status(job_id) is State.PENDING


async def test_those_who_wait_for_an_end_hear_of_it_after_the_commit(bench: Bench) -> None:
    ended: list[str] = []
    bench.store.writer.on_ended.append(ended.extend)
    attempt, retried = await bench.started(), await bench.started()
    await bench.store.settle(step.interrupt(retried))
    await bench.store.settle(step.succeed(attempt, "1", 0.1))
    assert ended == [attempt.id]


async def test_stopping_writes_what_is_in_flight_and_refuses_what_comes_later(bench: Bench) -> None:
    jobs = [new_job() for _ in range(30)]
    writes = [asyncio.ensure_future(bench.store.accept(job)) for job in jobs]
    await asyncio.sleep(0)
    await bench.store.writer.stop()
    assert await asyncio.gather(*writes) == [bench.now] * 30
    assert len(await bench.sql("SELECT id FROM jobs")) == 30
    with pytest.raises(StoreUnavailable):
        await bench.accept()


async def test_whoever_stops_waiting_does_not_undo_his_write(bench: Bench) -> None:
    jobs = [new_job(), new_job()]
    impatient = asyncio.ensure_future(bench.store.accept(jobs[0]))
    patient = asyncio.ensure_future(bench.store.accept(jobs[1]))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == bench.now
    assert await bench.status(jobs[0].id) is State.PENDING


async def test_a_fault_of_our_own_ends_neither_the_writer_nor_the_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(ended: list[str]) -> None:
        raise ZeroDivisionError

    attempt: Attempt = await bench.started()
    bench.store.writer.on_ended.append(boom)
    assert await bench.store.settle(step.succeed(attempt, "1", 0.1)) is State.SUCCESS
    with monkeypatch.context() as patch:
        patch.setattr(bench.store.writer._backend, "transact", boom)
        with pytest.raises(StoreUnavailable):
            await bench.accept()
    await bench.accept()


async def test_counts_come_from_the_events(bench: Bench) -> None:
    for state in State:
        await bench.in_state(state)
    await bench.accept(queue="other", delay=5_000)
    counts = await bench.store.counts()
    assert counts.open == {"q": {"PENDING": 1, "STARTED": 1, "RETRY": 1}, "other": {"PENDING": 1}}
    assert set(counts.oldest_age) == {"q"}
