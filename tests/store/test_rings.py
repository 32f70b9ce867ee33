"""The doorbell: what the relay rings for, how often, and in which order."""

from __future__ import annotations

from tasks import step
from tasks.store import rings, statements
from tests.store.support import BROKEN, ME, Bench, new_job


async def ring(bench: Bench, *groups: list[str], n: int = 100, each: int = 100) -> list[str]:
    names = [queue for group in groups for queue in group]
    params = {**{f"q{k}": queue for k, queue in enumerate(names)}, **{f"n{k}": each for k in range(len(names))}}
    return sorted(row[0] for row in await bench.store.run(rings.ring(list(groups)), **params, n=n))


async def test_each_due_job_is_rung_once_until_the_ring_is_taken_back(bench: Bench) -> None:
    jobs = [new_job() for _ in range(5)]
    await bench.store.accept_many(jobs)
    await bench.accept(delay=10), await bench.accept(held=True)
    everyone = sorted(job.id for job in jobs)
    assert await ring(bench, ["q"]) == everyone
    assert await ring(bench, ["q"]) == []
    assert await bench.store.rung() == {"q": 5}
    await bench.advance(1_000)
    assert await bench.store.run(rings.RERING, rows=[["q"], ["r"]], age=1_000) == []
    assert len(await bench.store.run(rings.RERING, rows=[["q"], ["r"]], age=999)) == 5
    assert await ring(bench, ["q"]) == everyone


async def test_credit_is_kept_by_queue_and_in_all_and_the_best_are_rung(bench: Bench) -> None:
    jobs = [new_job(queue="qr"[n % 2], priority=n // 2) for n in range(12)]
    await bench.store.accept_many(jobs)
    best = [job.id for job in sorted(jobs, key=lambda job: (-job.priority, job.id))]
    assert await ring(bench, ["q", "r"], each=2) == sorted(best[:4])
    assert await ring(bench, ["q", "r"], n=3) == sorted(best[4:7])
    r = {job.id for job in jobs if job.queue == "r"}
    assert await ring(bench, ["r"], ["q"], n=2) == sorted([job_id for job_id in best[7:] if job_id in r][:2])


async def test_a_claim_answers_the_ring_and_a_retry_may_be_rung_again(bench: Bench) -> None:
    job_id = await bench.accept()
    await ring(bench, ["q"])
    attempt = await bench.claim(job_id)
    assert await bench.store.rung() == {}
    await bench.store.settle(step.retry(attempt, BROKEN, 0.0, 0.1))
    assert await ring(bench, ["q"]) == [job_id]


async def test_a_limit_has_one_message_out_at_a_time(bench: Bench) -> None:
    await bench.store.set_limit("slow", 1_000.0, None)
    await bench.store.run("SELECT 1")  # with the promotion that a changed limit brings
    jobs = [new_job(limit_name="slow") for _ in range(3)]
    await bench.store.accept_many(jobs)
    assert await ring(bench, ["q"]) == [jobs[0].id]
    assert await ring(bench, ["q"]) == []
    assert await bench.store.claim(jobs[0].id, ME) is not None
    assert await ring(bench, ["q"]) == []
    await bench.advance(1_030)
    await _promote(bench, "slow")
    assert await ring(bench, ["q"]) == [jobs[1].id]


async def test_a_message_for_a_limit_that_is_full_is_taken_back(bench: Bench) -> None:
    await bench.store.set_limit("slow", None, 1)
    first, second = await bench.accept(limit_name="slow"), await bench.accept(limit_name="slow")
    assert await ring(bench, ["q"]) == [first, second]
    attempt = await bench.claim(second)
    assert await bench.store.claim(first, ME) is None
    assert await bench.store.rung() == {}
    assert await ring(bench, ["q"]) == []
    await bench.store.settle(step.succeed(attempt, "1", 0.1))
    await bench.store.run("SELECT 1")
    assert await ring(bench, ["q"]) == [first]


async def test_of_many_queues_only_those_with_candidates_are_asked(bench: Bench) -> None:
    queues = [f"customer-{n:04}" for n in range(statements.MANY * 20)]
    await bench.store.accept_many([new_job(queue=queue, id=queue) for queue in (queues[-1], queues[7], "elsewhere")])
    program = rings.program([queues[:10], queues[10:]], dict.fromkeys(queues, 3), [])
    (rung,) = [await bench.store.writer.run(*program)]
    assert sorted(row[0] for row in rung) == [queues[7], queues[-1]]
    taken = await bench.store.take([queues[10:], queues[:10]], 1, ME)
    assert [row[0] for row in taken] == [queues[-1]]
    assert [row[0] for row in await bench.store.take([queues], 5, ME)] == [queues[7]]
    assert not await bench.store.take([queues], 5, ME)


async def _promote(bench: Bench, name: str) -> None:
    """What a timer or the end of a job does."""
    bench.store.room_freed([name])
    await bench.store.run("SELECT 1")


async def test_a_cancelled_or_held_job_is_not_rung(bench: Bench) -> None:
    cancelled, held = await bench.accept(), await bench.accept()
    await ring(bench, ["q"])
    await bench.store.cancel(cancelled), await bench.store.set_held(held, True)
    assert await bench.store.rung() == {}
    assert await ring(bench, ["q"]) == []
