"""The write probe: shared, rare, and right about a database that answers reads and takes no writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from tasks.errors import StoreUnavailable
from tasks.store import health
from tasks.store.backend import Item, Rows
from tasks.store.health import StoreHealth
from tests.store.support import Bench, new_job


class Counted:
    """A backend that counts its transactions, and can let them wait or fail."""

    def __init__(self, backend: Any) -> None:
        self.engine = backend.engine
        self._backend = backend
        self.transactions = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: StoreUnavailable | None = None

    async def transact(self, program: Sequence[Item]) -> list[Rows]:
        self.transactions += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        found: list[Rows] = await self._backend.transact(program)
        return found


@pytest.fixture
def counted(bench: Bench) -> Counted:
    return Counted(bench.store._backend)


@pytest.fixture
def checked(counted: Counted) -> StoreHealth:
    return StoreHealth(counted)  # type: ignore[arg-type]  # as much of a backend as a probe needs


async def test_callers_share_a_probe_and_its_outcome_holds_for_a_while(counted: Counted, checked: StoreHealth) -> None:
    assert await asyncio.gather(*(checked.write_problem() for _ in range(100))) == [None] * 100
    assert await checked.write_problem() is None
    assert counted.transactions == 1


async def test_a_probe_leaves_nothing_behind(bench: Bench, checked: StoreHealth) -> None:
    assert await checked.write_problem() is None
    assert await bench.store.look_up("SELECT count(*) FROM probes") == [(0,)]


async def test_a_failed_write_makes_the_next_caller_probe(counted: Counted, checked: StoreHealth) -> None:
    assert await checked.write_problem() is None
    counted.error = StoreUnavailable("the disk is full")
    checked.failed("write")
    assert await checked.write_problem() == "the disk is full"
    # While it is known to fail, failures make no more probes than callers and time do.
    checked.failed("write")
    assert await checked.write_problem() == "the disk is full"
    assert (counted.transactions, checked.errors) == (2, {"read": 0, "write": 2})


async def test_a_probe_without_an_answer_is_a_problem_and_stays_alone(
    counted: Counted, checked: StoreHealth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_TIMEOUT", 0.05)
    counted.gate.clear()
    found = await asyncio.gather(*(checked.write_problem() for _ in range(10)))
    assert {*found, await checked.write_problem()} == {"a write was not answered within 0.05 s"}
    assert counted.transactions == 1
    await checked.stop()


async def test_failed_reads_and_writes_are_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bench.store

    async def down(*_: object) -> None:
        raise StoreUnavailable("the connection was closed")

    monkeypatch.setattr(store._backend, "transact", down)
    monkeypatch.setattr(store._backend, "fetch", down)
    for operation in (store.accept(new_job()), store.get("x"), store.unserved()):
        with contextlib.suppress(StoreUnavailable):
            await operation
    assert store.health.errors == {"read": 2, "write": 1}
    assert await store.health.write_problem() == "the connection was closed"


async def test_a_file_that_may_not_grow_takes_no_writes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLITE_FULL although pages that exist can still be written: what a job needs is a new one."""
    if bench.store.engine.dialect.name == "postgresql":
        pytest.skip("a limit of SQLite")
    monkeypatch.setattr(health, "PROBE_INTERVAL", 0.0)
    connection: Any = bench.store._backend._connection.driver_connection  # type: ignore[attr-defined]  # SqliteBackend's
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    assert await bench.store.health.write_problem() is None
    with contextlib.suppress(StoreUnavailable):
        while True:
            await bench.store.accept(new_job())
    assert "full" in (await bench.store.health.write_problem() or "")
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await bench.store.health.write_problem() is None
