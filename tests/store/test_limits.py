"""Rate and concurrency limits hold over all processes together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasks import step
from tasks.admission import new_id
from tasks.bulk import Action
from tasks.job import State
from tasks.store import bulks, limits, statements, upkeep
from tasks.store.backend import Query
from tasks.store.store import JobStore
from tasks.store.writer import to_attempt, to_job
from tests.store.support import ME, YOU, Bench, new_job


async def _jobs(bench: Bench, number: int, name: str = "slow") -> list[str]:
    jobs = [new_job(limit_name=name) for _ in range(number)]
    await bench.store.accept_many(jobs)
    return [job.id for job in jobs]


async def _rush(bench: Bench, other: JobStore, ids: list[str]) -> int:
    """Both processes try in both ways, all at once; how many attempts they got.

    Three times: a limit's row that the other process has locked counts as full.
    """
    both = ((bench.store, ME), (other, YOU))
    number = 0
    for _ in range(3):
        tries = [store.take([["q"]], 5, who) for _ in range(2) for store, who in both]
        single = [store.claim(job_id, who) for job_id in ids for store, who in both]
        taken, claimed = await asyncio.gather(asyncio.gather(*tries), asyncio.gather(*single))
        number += sum(len(rows) for rows in taken) + sum(attempt is not None for attempt in claimed)
    return number


async def test_two_processes_never_exceed_a_rate(bench: Bench, other: JobStore) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    ids = await _jobs(bench, 12)
    for n in range(4):
        assert await _rush(bench, other, ids) == 1, n
        await bench.advance(999)
        assert await _rush(bench, other, ids) == 0, n
        await bench.advance(30)


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
    taken = [row[0] for row in await bench.store.take([["q"]], 9, ME)]
    assert sorted(taken) == sorted([slow[0], calm[0], *free])


async def test_a_limited_queue_that_is_not_served_here_keeps_its_pass(bench: Bench) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    (job_id,) = await _jobs(bench, 1)
    assert await bench.store.take([["other"]], 5, ME) == []
    assert [row[0] for row in await bench.store.take([["q"]], 5, ME)] == [job_id]


async def test_a_pass_is_not_used_up_by_a_job_that_cannot_start(bench: Bench) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    (expired,) = (await bench.accept(limit_name="slow", expires_in=10),)
    await bench.advance(10)
    assert await bench.store.claim(expired, ME) is None
    assert await bench.store.take([["q"]], 5, ME) == []
    (job_id,) = await _jobs(bench, 1)
    assert await bench.store.claim(job_id, ME) is not None


async def test_a_limit_that_is_not_declared_lets_nobody_pass(bench: Bench) -> None:
    (job_id,) = await _jobs(bench, 1, "unknown")
    assert await bench.store.claim(job_id, ME) is None
    assert await bench.store.take([["q"]], 5, ME) == []


async def _running(bench: Bench) -> list[str]:
    return [row.limit_name for row in await bench.sql("SELECT limit_name FROM jobs WHERE status = 'STARTED'")]


async def test_jobs_of_one_key_run_one_after_the_other(bench: Bench, other: JobStore) -> None:
    for key in ("key:t:a", "key:t:b"):
        await bench.store.accept_many([new_job(limit_name=key, key_limit=1) for _ in range(3)])
    ids = [row.id for row in await bench.sql("SELECT id FROM jobs")]
    assert await _rush(bench, other, ids) == 2
    assert sorted(await _running(bench)) == ["key:t:a", "key:t:b"]


async def test_a_key_stands_under_the_limit_of_its_task(bench: Bench, other: JobStore) -> None:
    await bench.store.set_limit("t", None, 3)
    for key in range(5):
        await bench.store.accept_many([new_job(limit_name=f"key:t:{key}", key_limit=2) for _ in range(3)])
    await bench.store.accept_many([new_job(limit_name="t") for _ in range(3)])
    ids = [row.id for row in await bench.sql("SELECT id FROM jobs")]
    for _ in range(3):
        await _rush(bench, other, ids)
        await bench.advance(1)
    assert len(await _running(bench)) == 3
    await bench.store.set_limit("t", 1_000.0, None)
    for _ in range(2):
        await bench.advance(1_030)
        assert await _rush(bench, other, ids) == 1


async def test_an_operators_limit_holds_for_what_waits_and_for_what_comes(bench: Bench, other: JobStore) -> None:
    before = [await bench.accept() for _ in range(3)]
    values = {"name": "t", "interval": 0.0, "max_running": 1}
    await bench.store.writer.run(Query(limits.OVERRIDE, values), Query(limits.BIND, {"name": "t"}))
    after = [await bench.accept() for _ in range(3)]  # by a process that knows of no limit
    elsewhere = await bench.accept(task="u")
    assert await _rush(bench, other, [elsewhere, *before, *after]) == 2
    await bench.store.set_limit("t", None, 5)  # as every start does
    await bench.store.lift_limits(["t"])
    assert await _rush(bench, other, [*before, *after]) == 0
    await bench.store.run(limits.RESET, name="t", interval=0.0, max_running=None)
    await _rush(bench, other, [*before, *after])
    assert len(await _running(bench)) == 7


async def test_keys_that_nobody_uses_are_forgotten(bench: Bench) -> None:
    used = await bench.accept(limit_name="key:t:used", key_limit=1, held=True)
    ended = await bench.accept(limit_name="key:t:ended", key_limit=1)
    await bench.store.cancel(ended)
    await bench.advance(2_000)
    await bench.store.run(limits.FORGET_KEYS, age=1_000)
    assert [row.name for row in await bench.sql("SELECT name FROM limits")] == ["key:t:used"]
    await bench.store.set_held(used, held=False)
    assert await bench.store.claim(used, ME) is not None


async def test_a_clock_that_is_set_back_stops_no_limit(bench: Bench) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    await bench.store.set_limit("calm", None, 1)
    for name in ("slow", "calm"):
        first = await bench.started(limit_name=name)
        await bench.store.settle(step.succeed(first, "1", 0.1))
    key = await bench.started(limit_name="key:t:a", key_limit=1)
    await bench.store.settle(step.succeed(key, "1", 0.1))
    await bench.advance(-3_600_000)
    ids = [(await bench.accept(limit_name=name)) for name in ("slow", "calm")]
    ids.append(await bench.accept(limit_name="key:t:a", key_limit=1))
    assert {row[0] for row in await bench.store.take([["q"]], 5, ME)} == set(ids)


async def test_limited_and_free_jobs_stand_in_one_order(bench: Bench) -> None:
    await bench.store.set_limit("slow", None, 1)
    free = [await bench.accept(priority=0) for _ in range(3)]
    best = await bench.accept(priority=9, limit_name="slow")
    second = await bench.accept(priority=8, limit_name="slow")
    urgent = await bench.accept(queue="high", priority=0, limit_name="slow")
    served = [row[0] for _ in range(2) for row in await bench.store.take([["high"], ["q"]], 1, ME)]
    assert served == [urgent, free[0]]
    await _end(bench, urgent)
    assert [row[0] for row in await bench.store.take([["high"], ["q"]], 1, ME)] == [best]
    await _end(bench, best)
    assert [row[0] for row in await bench.store.take([["high"], ["q"]], 1, ME)] == [second]


@pytest.mark.parametrize("leave", ["cancel", "hold", "expire", "purge", "move"])
async def test_a_candidate_that_leaves_its_place_makes_room_for_the_next(bench: Bench, leave: str) -> None:
    await bench.store.set_limit("slow", None, 1)
    await bench.store.run("SELECT 1")
    jobs = [new_job(limit_name="slow", priority=9 - n, expires_in=10 if n == 0 else None) for n in range(3)]
    await bench.store.accept_many(jobs)
    first = jobs[0].id
    assert [row.waits_for for row in await bench.sql("SELECT waits_for FROM jobs ORDER BY number")] == [
        None, "slow", "slow"]  # fmt: skip
    if leave == "cancel":
        await bench.store.cancel(first)
    elif leave == "hold":
        await bench.store.set_held(first, held=True)
    else:
        await bench.advance(10 if leave == "expire" else 1)
        bench.store.room_freed(await _left(bench, leave, first))
    assert await bench.store.run("SELECT 1")
    assert [row[0] for row in await bench.store.take([["q"]], 5, ME)] == [jobs[1].id]


async def _left(bench: Bench, leave: str, job_id: str) -> list[str]:
    """Lets the job leave its place; the names of the limits that this frees."""
    if leave == "expire":
        return [name for _, name in await bench.store.run(upkeep.EXPIRE, n=5)]
    bulk = {"id": new_id(), "owner": "me", "lease": 1_000, "target": "elsewhere"}
    await bench.store.run(bulks.BEGIN, None, **bulk, action=leave, filter="{}", total=1)
    changed = await bench.store.run(bulks.CHANGES[Action(leave)], [[job_id]], **bulk)
    return [to_job(row).limit_name for row in changed]


async def test_what_a_lost_process_left_behind_a_limit_is_found(bench: Bench) -> None:
    for name in "abc":
        await bench.store.set_limit(name, None, 1)
    await bench.store.run("SELECT 1")
    for name in "abc":
        await bench.store.accept_many([new_job(limit_name=name) for _ in range(2)])
        await bench.sql("UPDATE jobs SET waits_for = limit_name")
    assert await bench.store.take([["q"]], 5, ME) == []
    behind = await bench.store.repair_limits("", 2)
    assert behind == "b"
    assert await bench.store.repair_limits(behind, 2) is None
    await bench.store.run("SELECT 1")
    assert len(await bench.store.take([["q"]], 5, ME)) == 3


async def _end(bench: Bench, job_id: str) -> None:
    attempt = to_attempt((await bench.sql(f"SELECT {statements.ATTEMPT} FROM jobs WHERE id = :id", id=job_id))[0])
    await bench.store.settle(step.succeed(attempt, "1", 0.1))
    await bench.store.run("SELECT 1")  # with the promotion that the end brings


@pytest.mark.parametrize("kind", ["keys", "one limit"])
async def test_a_claim_costs_the_same_however_many_wait(sqlite_url: str, kind: str) -> None:
    async with Bench.on(sqlite_url) as bench:
        await bench.store.set_limit("slow", None, 2)
        steps = []
        for number in (100, 3_000):
            names = [f"key:t:{n}" if kind == "keys" else "slow" for n in range(number)]
            key_limit = 1 if kind == "keys" else None
            await bench.store.accept_many([new_job(limit_name=name, key_limit=key_limit) for name in names])
            await bench.store.run("SELECT 1")
            steps.append(await _steps(bench))
        assert steps[1] < 2 * steps[0], steps


async def _steps(bench: Bench) -> int:
    """How many hundred steps of SQLite's machine it takes to claim two jobs, to end them, and to promote."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    backend: Any = bench.store._backend
    connection = backend._connection.driver_connection
    connection.set_progress_handler(count, 100)
    for row in await bench.store.take([["q"]], 2, ME):
        await bench.store.settle(step.succeed(to_attempt(row), "1", 0.1))
    await bench.store.run("SELECT 1")
    connection.set_progress_handler(None, 0)
    return counted
