"""Who is served first: strict queues, then priority and age, then the order of acceptance."""

from __future__ import annotations

import random

from tasks.store import rings, statements, upkeep
from tests.store.support import ME, START, Bench, new_job, worker


async def test_the_highest_priority_first_and_within_one_the_first_come(bench: Bench) -> None:
    jobs = [new_job(priority=random.randrange(10)) for _ in range(60)]
    await bench.store.accept_many(jobs)
    expected = [job.id for job in sorted(jobs, key=lambda job: (-job.priority, job.id))]
    served = [job_id for _ in range(60) for job_id in await bench.take(["q"], n=1)]
    assert served == expected


async def test_the_best_are_taken_whatever_the_number(bench: Bench) -> None:
    jobs = [new_job(priority=n % 10, queue="qr"[n % 2]) for n in range(40)]
    await bench.store.accept_many(jobs)
    expected = [job.id for job in sorted(jobs, key=lambda job: (-job.priority, job.id))]
    assert set(await bench.take(["q", "r"], n=13)) == set(expected[:13])


async def test_a_minute_of_waiting_weighs_one_priority(bench: Bench) -> None:
    old = await bench.accept(priority=3)
    await bench.advance(statements.AGEING)
    level = await bench.accept(priority=4)
    await bench.advance(1)
    young = await bench.accept(priority=4)
    assert [await bench.take(["q"], n=1) for _ in range(3)] == [[old], [level], [young]]


async def test_an_earlier_group_is_served_strictly_first(bench: Bench) -> None:
    low = await bench.accept(queue="low", priority=9)
    await bench.advance(10 * statements.AGEING)
    high, other = await bench.accept(queue="high", priority=0), await bench.accept(queue="also", priority=1)
    assert [await bench.take(["high", "also"], ["low"], n=1) for _ in range(4)] == [[other], [high], [low], []]


async def test_other_queues_are_left_alone(bench: Bench) -> None:
    await bench.accept(queue="other")
    assert await bench.take(["q"], ["r"]) == []


async def test_a_retried_job_stands_in_line_from_when_it_is_due(bench: Bench) -> None:
    from tasks import step
    from tests.store.support import BROKEN

    retried = await bench.started()
    await bench.store.settle(step.retry(retried, BROKEN, 1.0, 0.1))
    first = await bench.accept()
    await bench.advance(1_000)
    second = await bench.accept()
    await bench.store.run(upkeep.STAGE, n=10)
    assert [await bench.take(["q"], n=1) for _ in range(3)] == [[first], [retried.id], [second]]


async def test_a_released_job_takes_its_old_place(bench: Bench) -> None:
    held = await bench.accept(held=True)
    await bench.advance(5)
    later = await bench.accept()
    await bench.store.set_held(held, False)
    assert [await bench.take(["q"], n=1) for _ in range(2)] == [[held], [later]]


async def test_the_queues_that_have_something_due_are_found_without_reading_it(bench: Bench) -> None:
    for queue in ("a", "b", "c"):
        await bench.accept(queue=queue, held=queue == "b")
    assert await bench.store.unserved() == ["a", "c"]
    await bench.store.beat(worker("w", queues=("b", "c")))
    await bench.store.beat(worker("leaving", queues=("a",), draining=True))
    assert await bench.store.unserved() == ["a"]
    assert await bench.store.has_ready(["b", "c"])
    assert not await bench.store.has_ready(["b"])


async def test_tasks_that_are_skipped_are_neither_taken_nor_rung_for_nor_found(bench: Bench) -> None:
    await bench.store.set_limit("strange", 1_000.0, None)
    strange, plain = await bench.accept(task="strange"), await bench.accept(task="a 'quoted':name")
    limited = await bench.accept(task="strange", limit_name="strange")
    skipped = {"s0": "strange", "s1": "other"}
    rung = await bench.store.run(rings.ring([["q"]], 2), q0="q", n0=9, n=9, **skipped)
    assert [row[0] for row in rung] == [plain]
    taken = await bench.store.run(statements.take([["q"]], 2), **ME, q0="q", n=9, **skipped)
    assert [row[0] for row in taken] == [plain]
    assert not await bench.store.has_ready(["q"], skipped=["strange"])
    assert await bench.store.has_ready(["q"], skipped=["other"])
    assert await bench.store.take([["q"]], 5, ME, ["strange"]) == []
    assert sorted(row[0] for row in await bench.store.take([["q"]], 5, ME, ["other"])) == sorted([strange, limited])


async def test_a_moment_in_the_past_means_now(bench: Bench) -> None:
    """Neither the order nor the age of what waits is a caller's to choose."""
    urgent = await bench.accept(priority=9)
    await bench.advance(1)
    stored = await bench.accept(priority=0, due_at=START - 10**12)
    fired = await bench.accept(priority=0, due_at=START - 5_000, delay=None)
    assert (await bench.row(stored))["due_at"] == START + 1
    assert (await bench.row(fired))["due_at"] == START - 5_000, "a fire time of a schedule"
    assert [await bench.take(["q"], n=1) for _ in range(3)] == [[urgent], [fired], [stored]]
