"""The database's clock jumps; every process reads it, and none its own."""

from __future__ import annotations

from tasks import step
from tasks.job import State
from tasks.store import upkeep
from tests.store.support import LEASE, ME, YOU, Bench, worker

HOUR = 3_600_000


async def test_an_hour_forward_makes_leases_run_out_and_late_outcomes_are_refused(bench: Bench) -> None:
    lost = await bench.started()
    await bench.advance(HOUR)
    await bench.store.run(upkeep.REAP, n=10)
    assert await bench.status(lost.id) is State.RETRY
    again = await bench.claim(lost.id, YOU)
    assert await bench.store.settle(step.succeed(lost, '"late"', 0.1)) is None
    assert await bench.store.settle(step.succeed(again, '"right"', 0.1)) is State.SUCCESS
    assert (await bench.row(lost.id))["result"] == '"right"'


async def test_an_hour_forward_is_no_time_that_a_job_has_run(bench: Bench) -> None:
    attempt = await bench.started(time_limit=600.0)
    await bench.advance(HOUR)
    await bench.store.beat(worker("me"))
    assert await bench.store.renew([(attempt.id, attempt.attempt)], ME) == {attempt.id: False}
    assert [row[2:4] for row in await bench.store.run(upkeep.REAP, n=10)] == [("RETRY", "worker_lost")]


async def test_an_hour_back_takes_no_job_from_those_who_live(bench: Bench) -> None:
    held = await bench.started()
    await bench.advance(-HOUR)
    await bench.store.run(upkeep.REAP, n=10)
    assert await bench.store.renew([(held.id, held.attempt)], ME) == {held.id: False}
    assert (await bench.row(held.id))["lease_until"] == bench.now + LEASE, "on the new clock"
    await bench.advance(LEASE + 1)
    await bench.store.run(upkeep.REAP, n=10)
    assert await bench.status(held.id) is State.RETRY


async def test_a_delayed_job_waits_for_the_clock_that_it_was_given(bench: Bench) -> None:
    delayed = await bench.accept(delay=HOUR)
    await bench.advance(-HOUR)
    await bench.store.run(upkeep.STAGE, n=10)
    assert await bench.take(["q"]) == []
    await bench.advance(2 * HOUR)
    await bench.store.run(upkeep.STAGE, n=10)
    assert await bench.take(["q"]) == [delayed]
