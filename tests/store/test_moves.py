"""Every move from every state does exactly what `tasks.step.MOVES` says, and leaves an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tasks import step
from tasks.job import FINAL, WAITING, Attempt, State
from tasks.store import statements, upkeep
from tests.store.support import BROKEN, LEASE, ME, YOU, Bench, new_job, worker


async def _accept(bench: Bench, job: Attempt) -> None:
    assert await bench.store.accept_once(new_job(id=job.id)) is None


async def _expire(bench: Bench, job: Attempt) -> None:
    await bench.advance(60_000)
    await bench.store.run(upkeep.EXPIRE, n=10)


async def _reap(bench: Bench, job: Attempt) -> None:
    await bench.advance(LEASE + 1)
    await bench.store.run(upkeep.REAP, n=10)


async def _claim(bench: Bench, job: Attempt) -> None:
    await bench.store.claim(job.id, ME)


async def _take(bench: Bench, job: Attempt) -> None:
    await bench.take(["q"])


async def _cancel(bench: Bench, job: Attempt) -> None:
    await bench.store.cancel(job.id)


def _settling(make: Callable[[Attempt], step.Step]) -> Move:
    async def settle(bench: Bench, job: Attempt) -> None:
        await bench.store.settle(make(job))

    return settle


Move = Callable[[Bench, Attempt], Awaitable[None]]
MOVES: dict[str, tuple[str, Move]] = {
    "accept": ("accept", _accept),
    "claim": ("claim", _claim),
    "take": ("claim", _take),
    "succeed": ("succeed", _settling(lambda job: step.succeed(job, "7", 0.5))),
    "fail": ("fail", _settling(lambda job: step.fail(job, BROKEN, 0.5))),
    "retry": ("retry", _settling(lambda job: step.retry(job, BROKEN, 1.0, 0.5))),
    "stop": ("stop", _settling(lambda job: step.stop(job, 0.5))),
    "interrupt": ("interrupt", _settling(step.interrupt)),
    "reap": ("reap", _reap),
    "cancel": ("cancel", _cancel),
    "expire": ("expire", _expire),
}
#: Where a move from a state leads, of those that `step.MOVES` would allow.
REACHED = {
    **{("claim", state): State.STARTED for state in WAITING},
    **{("take", state): State.STARTED for state in WAITING},
    **{("cancel", state): State.REVOKED for state in WAITING},
    **{("expire", state): State.REVOKED for state in WAITING},
    ("cancel", State.STARTED): State.STARTED,
    ("succeed", State.STARTED): State.SUCCESS,
    ("fail", State.STARTED): State.FAILURE,
    ("retry", State.STARTED): State.RETRY,
    ("stop", State.STARTED): State.REVOKED,
    ("interrupt", State.STARTED): State.PENDING,
    ("reap", State.STARTED): State.RETRY,
}


def test_the_table_is_complete() -> None:
    assert {move for move, _ in MOVES.values()} == set(step.MOVES)
    for (name, state), reached in REACHED.items():
        leaves, reaches = step.MOVES[MOVES[name][0]]
        assert state in leaves
        assert reached in reaches
    assert len(REACHED) == sum(len(step.MOVES[move][0]) for move, _ in MOVES.values())


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", MOVES)
async def test_a_move_from_a_state(bench: Bench, name: str, state: State) -> None:
    job = await bench.in_state(state, expires_in=50_000)
    before, told = await bench.row(job.id), await bench.events(job.id)
    await MOVES[name][1](bench, job)
    after, events = await bench.row(job.id), await bench.events(job.id)
    reached = REACHED.get((name, state))
    if reached is None:
        assert after == before
    assert after["status"] == (reached or state)
    moved = [(state, reached, after["attempt"])] if reached not in (None, state) else []
    assert events == told + moved


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("held", [True, False])
async def test_only_a_waiting_job_can_be_held_or_released(bench: Bench, state: State, held: bool) -> None:
    job = await bench.in_state(state)
    before = await bench.row(job.id)
    found = await bench.store.set_held(job.id, held)
    if state in WAITING:
        assert found is not None
        assert found.held is held
        assert await bench.take(["q"]) == ([] if held else [job.id])
    else:
        assert found is None
        assert await bench.row(job.id) == before


ENDS = [name for name in MOVES if name in ("succeed", "fail", "retry", "stop", "interrupt")]


@pytest.mark.parametrize("name", ENDS)
async def test_an_attempt_that_lost_its_job_changes_nothing(bench: Bench, name: str) -> None:
    late = await bench.started()
    await bench.advance(LEASE + 1)
    await bench.store.run(upkeep.REAP, n=10)
    await bench.claim(late.id)  # the same owner again: only the attempt tells the two apart
    before = await bench.row(late.id)
    await MOVES[name][1](bench, late)
    assert await bench.row(late.id) == before


@pytest.mark.parametrize("name", ENDS)
async def test_only_the_owner_ends_an_attempt(bench: Bench, name: str) -> None:
    attempt = await bench.started()
    before = await bench.row(attempt.id)
    stranger = as_of(attempt, owner="you")
    await MOVES[name][1](bench, stranger)
    assert await bench.row(attempt.id) == before


def as_of(attempt: Attempt, **values: object) -> Attempt:
    return Attempt(**{**{name: getattr(attempt, name) for name in attempt.__struct_fields__}, **values})  # type: ignore[arg-type]  # a copy


async def test_a_step_that_was_taken_already_says_so_again(bench: Bench) -> None:
    attempt = await bench.started()
    done = step.succeed(attempt, "7", 0.5)
    # As after a commit whose answer was lost with the connection.
    assert await bench.store.settle(done) is State.SUCCESS
    assert await bench.store.settle(done) is State.SUCCESS
    assert await bench.store.settle(step.succeed(as_of(attempt, owner="you"), "8", 0.5)) is None


async def test_a_reaped_attempt_is_told_that_it_lost(bench: Bench) -> None:
    attempt = await bench.started(max_losses=0)
    await bench.advance(LEASE + 1)
    await bench.store.run(upkeep.REAP, n=10)
    assert await bench.status(attempt.id) is State.FAILURE
    assert await bench.store.settle(step.fail(attempt, BROKEN, 0.1)) is None


@pytest.mark.parametrize("name", ["retry", "interrupt"])
async def test_a_cancel_wins_over_going_back_to_wait(bench: Bench, name: str) -> None:
    attempt = await bench.started()
    await bench.store.cancel(attempt.id)
    await MOVES[name][1](bench, attempt)
    row = await bench.row(attempt.id)
    assert (row["status"], row["error_code"], row["rank"]) == (State.REVOKED, "cancelled", None)


async def test_a_success_wins_over_a_cancel_that_came_too_late(bench: Bench) -> None:
    attempt = await bench.started()
    await bench.store.cancel(attempt.id)
    assert await bench.store.settle(step.succeed(attempt, "7", 0.5)) is State.SUCCESS


@pytest.mark.parametrize(
    ("fields", "seen", "cancelled", "decision", "budget"),
    [
        ({}, 0, False, (State.RETRY, "worker_lost"), (0, 1)),
        ({"max_losses": 0}, 0, False, (State.FAILURE, "worker_lost"), (0, 1)),
        # The limit is within the lease: only a sign of life since then tells an overrun from a loss.
        ({"time_limit": 3.0}, 2_999, False, (State.RETRY, "worker_lost"), (0, 1)),
        ({"time_limit": 3.0}, 3_000, False, (State.FAILURE, "timeout"), (1, 0)),
        ({"time_limit": 3.0, "max_losses": 0}, 2_999, False, (State.FAILURE, "worker_lost"), (0, 1)),
        ({"time_limit": LEASE / 1000}, LEASE - 1, False, (State.RETRY, "worker_lost"), (0, 1)),
        ({"time_limit": 3.0}, 3_000, True, (State.REVOKED, "cancelled"), (0, 0)),
        ({}, 0, True, (State.REVOKED, "cancelled"), (0, 0)),
    ],
)
async def test_what_the_reaper_decides(
    bench: Bench,
    fields: dict[str, float],
    seen: int,
    cancelled: bool,
    decision: tuple[State, str],
    budget: tuple[int, int],
) -> None:
    attempt = await bench.started(**fields)
    if cancelled:
        await bench.store.cancel(attempt.id)
    await bench.advance(seen)
    await bench.store.beat(worker("me"))
    await bench.advance(LEASE + 3_001 - seen)
    reaped = await bench.store.run(upkeep.REAP, n=10)
    assert reaped == [(attempt.id, "t", *decision, "me", "")]
    row = await bench.row(attempt.id)
    assert (row["failures"], row["losses"]) == budget
    assert (row["finished_at"] is not None) == (decision[0] in FINAL)


async def test_a_worker_that_died_within_its_last_lease_before_the_limit_was_lost(bench: Bench) -> None:
    attempt = await bench.started(time_limit=60.0)
    await bench.advance(55_000)
    await bench.store.beat(worker("me"))
    await bench.store.renew([(attempt.id, attempt.attempt)], ME)
    await bench.advance(60_000)
    assert [row[3] for row in await bench.store.run(upkeep.REAP, n=10)] == ["worker_lost"]


async def test_a_dead_owners_attempt_was_lost_even_past_its_limit(bench: Bench) -> None:
    attempt = await bench.started(time_limit=3.0)
    await bench.advance(3_000)
    await bench.store.beat(worker("me"))
    await bench.store.abandon([attempt.owner])
    assert [row[3] for row in await bench.store.run(upkeep.REAP, n=10)] == ["worker_lost"]


async def test_a_dead_owners_attempts_are_given_up_at_once(bench: Bench) -> None:
    mine, theirs = await bench.started(), await bench.claim(await bench.accept(), YOU)
    assert sorted(await bench.store.owners()) == ["me", "you"]
    assert await bench.store.abandon(["you"]) == 1
    assert [row[0] for row in await bench.store.run(upkeep.REAP, n=10)] == [theirs.id]
    assert await bench.status(mine.id) is State.STARTED


async def test_a_lease_ends_with_the_limit_and_with_the_grace(bench: Bench) -> None:
    free, limited, stopped = (await bench.started(), await bench.started(time_limit=5.0), await bench.started())
    await bench.store.cancel(stopped.id, grace=2_000)
    await bench.advance(1_500)
    attempts = [(attempt.id, attempt.attempt) for attempt in (free, limited, stopped)]
    held = await bench.store.renew([*attempts, (free.id, 2), ("unknown", 1)], ME)
    assert held == {free.id: False, limited.id: False, stopped.id: True}
    leases = [(await bench.row(job_id))["lease_until"] - bench.now for job_id, _ in attempts]
    assert leases == [LEASE, 5_000 + statements.OVERRUN - 1_500, 2_000 - 1_500]
    assert await bench.store.renew(attempts, YOU) == {}


async def test_a_job_that_comes_due_is_staged_and_never_early(bench: Bench) -> None:
    job_id = await bench.accept(delay=1_000)
    await bench.advance(999)
    assert await bench.store.run(upkeep.STAGE, n=10) == []
    assert await bench.take(["q"]) == []
    assert await bench.store.claim(job_id, ME) is None
    await bench.advance(1)
    assert await bench.store.run(upkeep.STAGE, n=10) == [("q", "")]
    assert await bench.take(["q"]) == [job_id]


async def test_an_expired_job_is_not_claimed_even_before_anybody_has_revoked_it(bench: Bench) -> None:
    job_id = await bench.accept(expires_in=1_000)
    await bench.advance(1_000)
    assert await bench.take(["q"]) == []
    assert await bench.store.claim(job_id, ME) is None
