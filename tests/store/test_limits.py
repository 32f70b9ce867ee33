"""Rate and concurrency limits hold over all processes together."""

from __future__ import annotations

import asyncio

from tasks import step
from tasks.job import State
from tasks.store import statements
from tasks.store.store import JobStore
from tasks.store.writer import to_attempt
from tests.store.support import ME, YOU, Bench, new_job


async def _jobs(bench: Bench, number: int, name: str = "slow") -> list[str]:
    jobs = [new_job(limit_name=name) for _ in range(number)]
    await bench.store.accept_many(jobs)
    return [job.id for job in jobs]


async def _rush(bench: Bench, other: JobStore, ids: list[str]) -> int:
    """Both processes try in both ways, all at once; how many attempts they got."""
    both = ((bench.store, ME), (other, YOU))
    tries = [store.take_limited(["q"], 5, who) for _ in range(4) for store, who in both]
    single = [store.claim(job_id, who) for job_id in ids for store, who in both]
    taken, claimed = await asyncio.gather(asyncio.gather(*tries), asyncio.gather(*single))
    return sum(len(rows) for rows in taken) + sum(attempt is not None for attempt in claimed)


async def test_two_processes_never_exceed_a_rate(bench: Bench, other: JobStore) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    ids = await _jobs(bench, 12)
    for n in range(4):
        assert await _rush(bench, other, ids) == 1, n
        await bench.advance(999)
        assert await _rush(bench, other, ids) == 0, n
        await bench.advance(1)


async def test_two_processes_never_exceed_a_concurrency(bench: Bench, other: JobStore) -> None:
    await bench.store.set_limit("slow", None, 2)
    ids = await _jobs(bench, 12)
    for _ in range(3):
        await _rush(bench, other, ids)
        await _rush(bench, other, ids)
        await bench.advance(1)
    running = await bench.sql("SELECT id, attempt, owner FROM jobs WHERE status = 'STARTED'")
    assert len(running) == 2
    job = await bench.store.get(running[0].id)
    assert job is not None
    attempt = to_attempt((await bench.sql(f"SELECT {statements.ATTEMPT} FROM jobs WHERE id = :id", id=job.id))[0])
    assert await bench.store.settle(step.succeed(attempt, "1", 0.1)) is State.SUCCESS
    assert await _rush(bench, other, ids) == 1


async def test_a_limit_is_no_obstacle_to_other_jobs_nor_are_they_to_it(bench: Bench) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    await bench.store.set_limit("calm", 1_000.0, None)
    slow, calm, free = (await _jobs(bench, 2), await _jobs(bench, 2, "calm"), await _jobs(bench, 2, ""))
    assert set(await bench.take(["q"])) == set(free)
    taken = [row[0] for row in await bench.store.take_limited(["q"], 5, ME)]
    assert sorted(taken) == sorted([slow[0], calm[0]])


async def test_a_limited_queue_that_is_not_served_here_keeps_its_pass(bench: Bench) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    (job_id,) = await _jobs(bench, 1)
    assert await bench.store.take_limited(["other"], 5, ME) == []
    assert [row[0] for row in await bench.store.take_limited(["q"], 5, ME)] == [job_id]


async def test_a_pass_is_not_used_up_by_a_job_that_cannot_start(bench: Bench) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    (expired,) = (await bench.accept(limit_name="slow", expires_in=10),)
    await bench.advance(10)
    assert await bench.store.claim(expired, ME) is None
    assert await bench.store.take_limited(["q"], 5, ME) == []
    (job_id,) = await _jobs(bench, 1)
    assert await bench.store.claim(job_id, ME) is not None


async def test_a_limit_that_is_not_declared_lets_nobody_pass(bench: Bench) -> None:
    (job_id,) = await _jobs(bench, 1, "unknown")
    assert await bench.store.claim(job_id, ME) is None
    assert await bench.take(["q"]) == []
