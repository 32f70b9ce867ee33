"""What one body does must not harm the others: it blocks their event loop, or leaves something behind."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from executors import body_loops
from executors.body import SWITCH_INTERVAL, Interruption
from executors.body_loops import AsyncSeat, BodyLoops
from tasks.errors import LeaseLost
from tests.executors.conftest import Deploy
from tests.support.ledger import Ledger
from tests.support.waiting import eventually


@pytest.fixture
def loops() -> Iterator[BodyLoops]:
    loops = BodyLoops("test-bodies")
    yield loops
    loops.stop()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def _loop_of(_: Interruption) -> int:
    return id(asyncio.get_running_loop())


def _block(loops: BodyLoops, release: threading.Event) -> AsyncSeat:
    """A body that keeps its loop from running anything else; it does so when this returns."""
    begun = threading.Event()

    async def body(_: Interruption) -> None:
        async def part() -> None:  # in a task of its own: the blame must find the job all the same
            begun.set()
            release.wait(60)

        await asyncio.gather(part())

    seat = AsyncSeat(loops, "job 1 (test.block)")
    seat.start(body)
    assert begun.wait(10)
    return seat


def _suspended(loops: BodyLoops) -> tuple[AsyncSeat, Future[Any], asyncio.Event]:
    """A body that waits for something on its loop; it does so when this returns."""
    begun, awaited = threading.Event(), asyncio.Event()

    async def body(_: Interruption) -> str:
        begun.set()
        await awaited.wait()
        return "went on"

    seat = AsyncSeat(loops)
    done = seat.start(body)
    assert begun.wait(10)
    return seat, done, awaited


def _look(loops: BodyLoops) -> None:
    for _ in range(body_loops.PATIENCE + 1):
        loops.look()


def test_a_blocked_loop_is_replaced_and_what_has_not_begun_is_moved(
    loops: BodyLoops, release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    first = AsyncSeat(loops).start(_loop_of).result(10)
    _block(loops, release)
    waiting = [AsyncSeat(loops).start(_loop_of) for _ in range(3)]
    with caplog.at_level(logging.ERROR, "jobgate.bodies"):
        _look(loops)
    assert "job 1 (test.block) blocks the event loop" in caplog.text
    second = {future.result(10) for future in waiting}
    assert len(second) == 1
    assert first not in second
    assert {AsyncSeat(loops).start(_loop_of).result(10)} == second
    assert loops.blocked == 1


def test_bodies_go_back_to_the_first_loop_when_it_answers_again(loops: BodyLoops, release: threading.Event) -> None:
    first = AsyncSeat(loops).start(_loop_of).result(10)
    seat = _block(loops, release)
    _look(loops)
    assert AsyncSeat(loops).start(_loop_of).result(10) != first
    release.set()
    eventually(lambda: not loops.blocked and not seat.goes_on)
    threads = threading.active_count()
    loops.look()
    assert AsyncSeat(loops).start(_loop_of).result(10) == first
    eventually(lambda: threading.active_count() < threads, what="the second loop has ended")


def test_what_a_blocked_loop_keeps_from_running_is_not_held_against_it(
    loops: BodyLoops, release: threading.Event
) -> None:
    suspended, done, awaited = _suspended(loops)
    blocking = _block(loops, release)
    _look(loops)
    time.sleep(0.01)
    loops.look()
    assert suspended.stalled > 0
    assert not suspended.stranded
    assert blocking.stalled == 0
    blocking.interrupt(LeaseLost)
    loops.look()
    assert suspended.stranded
    release.set()
    assert suspended._loop is not None
    suspended._loop.call_soon_threadsafe(awaited.set)
    assert done.result(10) == "went on"


def test_a_body_that_was_given_up_before_it_began_does_not_begin(loops: BodyLoops, release: threading.Event) -> None:
    ran = threading.Event()

    async def body(interruption: Interruption) -> None:
        interruption.check()
        ran.set()

    _block(loops, release)
    seat = AsyncSeat(loops)
    future = seat.start(body)
    seat.interrupt(LeaseLost)
    with pytest.raises(CancelledError):
        future.result(0)
    _look(loops)
    eventually(lambda: seat.begun and not seat.goes_on)
    assert not ran.is_set()


def test_the_number_of_loops_is_bounded(
    loops: BodyLoops, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_loops, "MOST_BLOCKED", 2)
    for number in (1, 2, 3):
        _block(loops, release)
        _look(loops)
        assert loops.blocked == number
    waiting = AsyncSeat(loops).start(_loop_of)
    _look(loops)
    assert loops.blocked == 3
    assert not waiting.done()
    release.set()
    assert waiting.result(10)


@pytest.mark.parametrize("pool", [None, "threads", "solo"])
def test_a_body_that_computes_or_blocks_its_loop_harms_no_other_job(
    deploy: Deploy,
    make_database: Callable[[str], str],
    make_broker: Callable[[str], str],
    ledger: Ledger,
    tmp_path: Path,
    pool: str | None,
) -> None:
    shape: dict[str, Any] = {} if pool is None else {"pool": pool, "broker_url": make_broker("redis")}
    database = make_database("postgresql" if pool == "threads" else "sqlite")
    alone = pool == "solo"
    deployment = deploy(database, slots=1 if alone else 4, **shape)
    assert deployment.run("switch_interval")["result"] <= SWITCH_INTERVAL
    gate, end = tmp_path / "gate", tmp_path / "end"
    held = None if alone else deployment.submit("hold_async", str(ledger), str(end))
    if held is not None:
        eventually(lambda: len(ledger.lines()) == 1)
    frozen = deployment.submit("freeze_async", str(gate))
    later = [deployment.submit("add_async", number) for number in range(3)]
    assert deployment.ended(frozen)["error"]["code"] == "timeout"
    assert [deployment.ended(job)["status"] for job in later] == ["SUCCESS"] * 3
    if held is not None:
        eventually(lambda: len(ledger.lines()) == 2, what="the suspended job runs on another loop")
    gate.touch()
    end.touch()
    if held is not None:
        done = deployment.ended(held)
        assert (done["status"], done["attempt"], done["retries"]) == ("SUCCESS", 2, 0)
        assert ledger.lines() == ["begun", "begun", "ended"], "the first attempt made no further step"
    eventually(lambda: not any(w["abandoned"] for w in deployment.client.get("/api/v1/workers").json()["workers"]))


def test_a_prefork_process_is_tidied_after_each_body(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], tmp_path: Path
) -> None:
    deployment = deploy(make_database("sqlite"), pool="prefork", broker_url=make_broker("redis"), slots=1)
    first, second = (deployment.run("disturb", str(tmp_path))["result"] for _ in range(2))
    assert first == second
    assert deployment.run("nap", 0.5)["attempt"] == 1, "no alarm of the job before has ended the process"
