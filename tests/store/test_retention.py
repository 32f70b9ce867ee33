"""What is cleaned up, and what is not."""

from __future__ import annotations

from tasks.job import FINAL, State
from tasks.store import upkeep
from tests.store.support import Bench

EVERYTHING = {"after": "0", "last": "z"}


async def test_results_expire_and_nothing_else_of_their_rows(bench: Bench) -> None:
    jobs = {state: await bench.in_state(state) for state in State}
    before = {state: await bench.row(job.id) for state, job in jobs.items()}
    await bench.advance(1_000)
    assert await bench.store.run(upkeep.EXPIRE_RESULTS, **EVERYTHING, result_age=1_000) == []
    assert (await bench.row(jobs[State.SUCCESS].id))["result"] == "1"
    await bench.store.run(upkeep.EXPIRE_RESULTS, **EVERYTHING, result_age=999)
    for state, job in jobs.items():
        expired = {"result": None, "result_expired": 1} if state is State.SUCCESS else {}
        assert await bench.row(job.id) == {**before[state], **expired}


async def test_rows_go_with_their_events_and_logs_and_open_jobs_stay(bench: Bench) -> None:
    jobs = {state: await bench.in_state(state) for state in State}
    for job in jobs.values():
        await bench.store.report("me", lines=[(job.id, 1, "info", "a line")])
    young = await bench.in_state(State.PENDING)
    await bench.advance(1_000)
    for deletion in (upkeep.DELETE_EVENTS, upkeep.DELETE_LOGS, upkeep.DELETE_JOBS):
        await bench.store.run(deletion, **EVERYTHING, job_age=999)
    for state, job in jobs.items():
        left = 0 if state in FINAL else 1
        for table, key in (("jobs", "id"), ("logs", "job_id")):
            assert len(await bench.sql(f"SELECT 1 FROM {table} WHERE {key} = :id", id=job.id)) == left
        assert bool(await bench.events(job.id)) == bool(left)
    assert await bench.status(young.id) is State.PENDING


async def test_the_walk_goes_over_all_ids_in_order(bench: Bench) -> None:
    ids = [await bench.accept() for _ in range(5)]
    first = await bench.store.run(upkeep.SWEEP, after="0", before="z", n=3)
    rest = await bench.store.run(upkeep.SWEEP, after=first[-1][0], before="z", n=3)
    assert [row[0] for row in first + rest] == sorted(ids)
    assert await bench.store.run(upkeep.SWEEP, after="0", before=min(ids), n=3) == []
