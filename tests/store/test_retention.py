"""What is cleaned up, and what is not."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import BigInteger, literal_column

from executors.retention import LATE, Retention
from executors.retention import expire as expire_all
from tasks import step
from tasks.inventory import Expiry
from tasks.job import FINAL, Filter, State
from tasks.store import retention
from tasks.store.backend import Query
from tests.store.support import CLOCK, Bench

EVERYTHING = {"behind": 0, "upto": 1 << 40}


async def expire(bench: Bench, age: int) -> None:
    await bench.store.run(retention.EXPIRE_RESULTS, **EVERYTHING, age=age)


async def test_results_expire_and_nothing_else_of_their_rows(bench: Bench) -> None:
    jobs = {state: await bench.in_state(state) for state in State}
    before = {state: await bench.row(job.id) for state, job in jobs.items()}
    await bench.advance(1_000)
    await expire(bench, 1_000)
    assert (await bench.row(jobs[State.SUCCESS].id))["result"] == "1"
    await expire(bench, 999)
    for state, job in jobs.items():
        expired = {"result": None, "result_expired": 1} if state is State.SUCCESS else {}
        assert await bench.row(job.id) == {**before[state], **expired}


async def test_a_result_whose_time_is_over_is_gone_to_readers_before_it_is_swept(bench: Bench) -> None:
    done = await bench.started(idempotency_key="k", fingerprint="f")
    await bench.store.settle(step.succeed(done, "7", 0.1))
    failed = await bench.in_state(State.FAILURE)
    bench.store.result_age = 1_000
    bench.store._now = literal_column(CLOCK, BigInteger)

    async def read() -> list[Any]:
        listed = {job.id: job for job in await bench.store.list(Filter(), 10)}
        by_key = await bench.store.find_by_key("k")
        assert by_key is not None
        return [await bench.store.get(done.id), listed[done.id], by_key[0]]

    await bench.advance(1_000)
    assert [(job.result, job.result_expired) for job in await read()] == [("7", False)] * 3
    await bench.advance(1)
    assert [(job.result, job.result_expired) for job in await read()] == [(None, True)] * 3
    other = await bench.store.get(failed.id)
    assert other is not None
    assert not other.result_expired, "there never was one"
    assert (await bench.row(done.id))["result"] == "7", "only the sweep changes the row"


async def test_rows_go_with_their_events_and_logs_and_open_jobs_stay(bench: Bench) -> None:
    jobs = {state: await bench.in_state(state) for state in State}
    for job in jobs.values():
        await bench.store.report("me", lines=[(job.id, 1, "info", "a line")])
    young = await bench.in_state(State.PENDING)
    await bench.advance(1_000)
    deletions = (retention.DELETE_LOGS, retention.DELETE_JOBS, retention.DELETE_EVENTS)
    await bench.store.writer.run(*(Query(sql, {**EVERYTHING, "age": 999}) for sql in deletions))
    for state, job in jobs.items():
        left = 0 if state in FINAL else 1
        for table, key in (("jobs", "id"), ("logs", "job_id")):
            assert len(await bench.sql(f"SELECT 1 FROM {table} WHERE {key} = :id", id=job.id)) == left
        assert bool(await bench.events(job.id)) == bool(left)
    assert len(await bench.sql("SELECT DISTINCT job FROM events")) == len(State) - len(FINAL) + 1
    assert await bench.status(young.id) is State.PENDING


async def test_the_sweep_follows_the_ends_and_not_the_ids(bench: Bench) -> None:
    """An adopted job brings an id that says nothing about its time; a long one ends late."""
    adopted = await bench.started(id=str(uuid.UUID(int=(1 << 128) - 1)))
    long, short = await bench.started(), await bench.started()
    for attempt in (adopted, short):
        await bench.store.settle(step.succeed(attempt, "1", 0.1))
    await bench.advance(LATE)
    await bench.store.settle(step.succeed(long, "1", 0.1))
    await bench.advance(1)
    sweep = Retention(bench.store, 1_000, 10_000_000)
    while await sweep.results() < 1:
        pass
    assert [(await bench.row(job.id))["result_expired"] for job in (adopted, short, long)] == [1, 1, 0]
    await bench.advance(LATE)
    while await sweep.results() < 1:
        pass
    assert (await bench.row(long.id))["result_expired"] == 1
    assert await sweep.jobs() > 1
    assert len(await bench.sql("SELECT 1 FROM jobs")) == 3


async def test_all_that_is_over_can_be_emptied_at_once(bench: Bench) -> None:
    bench.store.result_age = 1_000
    bench.store._now = literal_column(CLOCK, BigInteger)
    old = [await bench.in_state(State.SUCCESS) for _ in range(3)]
    await bench.in_state(State.FAILURE)
    assert await expire_all(bench.store) == Expiry(emptied=0, gone=0, kept=3)
    await bench.advance(LATE + 1)
    young = await bench.in_state(State.SUCCESS)
    assert await expire_all(bench.store) == Expiry(emptied=3, gone=3, kept=1)
    assert [(await bench.row(job.id))["result"] for job in (*old, young)] == [None, None, None, "1"]
    await bench.advance(1_001)
    assert await expire_all(bench.store) == Expiry(emptied=0, gone=4, kept=0), "readers see it as gone, the row waits"


async def test_a_second_process_goes_on_where_the_first_stood(bench: Bench) -> None:
    jobs = [await bench.in_state(State.SUCCESS) for _ in range(3)]
    await bench.advance(LATE + 1)
    await Retention(bench.store, 0, 0).jobs()
    assert await bench.sql("SELECT 1 FROM jobs UNION ALL SELECT 1 FROM events") == []
    stood = (await bench.store.run(retention.FRONTIER, name="retention"))[0][0]
    assert stood >= 3 * len(jobs)
    await bench.store.run(retention.ADVANCE, name="retention", upto=1)
    assert (await bench.store.run(retention.FRONTIER, name="retention"))[0][0] == stood, "it never goes back"
