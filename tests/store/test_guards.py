"""What the schema refuses, whoever writes: plain SQL past the store."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from tasks.job import FINAL, State
from tasks.store.backend import Refused
from tests.store.support import Bench

CHANGES = [
    "status = 'PENDING', finished_at = NULL",
    "status = 'SUCCESS', error_code = NULL",
    "result = '8'",
    "result = NULL",
    "finished_at = finished_at + 1",
    "attempt = attempt + 1",
    "error_message = 'another'",
    "arguments = '[[],{}]', result = NULL, result_expired = 1",
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", sorted(FINAL))
async def test_a_job_that_has_ended_cannot_be_changed(bench: Bench, state: State, change: str) -> None:
    job = await bench.in_state(state)
    before = await bench.row(job.id)
    with pytest.raises(IntegrityError, match=r"a job that has ended cannot be changed|only a claim raises the attempt"):
        await bench.sql(f"UPDATE jobs SET {change} WHERE id = :id", id=job.id)
    assert await bench.row(job.id) == before


@pytest.mark.parametrize("state", sorted(FINAL))
async def test_only_its_result_may_expire(bench: Bench, state: State) -> None:
    job = await bench.in_state(state)
    await bench.sql("UPDATE jobs SET result = NULL, result_expired = 1 WHERE id = :id", id=job.id)
    assert (await bench.row(job.id))["status"] == state


@pytest.mark.parametrize("change", ["attempt = attempt + 1", "attempt = attempt - 1", "attempt = 0"])
async def test_nothing_but_a_claim_touches_the_attempt(bench: Bench, change: str) -> None:
    job = await bench.started()
    with pytest.raises(IntegrityError, match="only a claim raises the attempt"):
        await bench.sql(f"UPDATE jobs SET {change} WHERE id = :id", id=job.id)


@pytest.mark.parametrize("raised", [0, 2])
async def test_a_claim_raises_the_attempt_by_one(bench: Bench, raised: int) -> None:
    job_id = await bench.accept()
    claim = "status = 'STARTED', owner = 'me', lease_until = 1, rank = NULL"
    with pytest.raises(IntegrityError, match="only a claim raises the attempt"):
        await bench.sql(f"UPDATE jobs SET {claim}, attempt = attempt + {raised} WHERE id = :id", id=job_id)


WRONG = [
    (State.PENDING, "status = 'RUNNING'"),
    (State.PENDING, "priority = 10"),
    (State.PENDING, "owner = 'me'"),
    (State.PENDING, "lease_until = 1"),
    (State.PENDING, "finished_at = 1"),
    (State.PENDING, "held = 1"),
    (State.STARTED, "owner = NULL"),
    (State.STARTED, "lease_until = NULL"),
    (State.STARTED, "rank = 1"),
    (State.STARTED, "status = 'SUCCESS', owner = NULL, lease_until = NULL"),
]


@pytest.mark.parametrize(("state", "change"), WRONG)
async def test_a_row_that_makes_no_sense_is_refused(bench: Bench, state: State, change: str) -> None:
    job = await bench.in_state(state)
    with pytest.raises(IntegrityError):
        await bench.sql(f"UPDATE jobs SET {change} WHERE id = :id", id=job.id)


async def test_the_store_says_so_too(bench: Bench) -> None:
    job = await bench.in_state(State.SUCCESS)
    with pytest.raises(Refused, match="a job that has ended cannot be changed"):
        await bench.store.run("UPDATE jobs SET result = '8' WHERE id = :id", id=job.id)


async def test_an_event_tells_of_each_transition_who_when_and_why(bench: Bench) -> None:
    job = await bench.in_state(State.FAILURE)
    accepted, started, failed = await bench.store.events(job.id)
    assert [event.status for event in (accepted, started, failed)] == ["PENDING", "STARTED", "FAILURE"]
    assert {event.at for event in (accepted, started, failed)} == {bench.now}
    assert (started.owner, started.attempt, started.started_at) == ("me", 1, bench.now)
    assert (failed.owner, failed.runtime, failed.error_code, failed.error_type) == (
        "me",
        0.1,
        "task_error",
        "ValueError",
    )
    assert accepted.seq < started.seq < failed.seq


async def test_an_event_that_retention_freed_is_not_numbered_again(bench: Bench) -> None:
    job = await bench.in_state(State.SUCCESS)
    last = (await bench.store.events(job.id))[-1].seq
    await bench.sql("DELETE FROM events")
    later = await bench.accept()
    assert (await bench.store.events(later))[0].seq > last
