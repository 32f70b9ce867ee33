"""The limit on series says when it holds, spares what operators look at, and makes room again."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import text

from metrics.exposition import Exposition
from tasks.store import series_limit
from tasks.store.store import JobStore
from tasks.store.stretch import OTHER
from tasks.store.tallies import Tallies
from tests.metrics import rows
from tests.metrics.test_exposition import BUILD, scrape, value

DAY = 86_400_000


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_limit, "MAX_PAIRS", 5)


async def fill(store: JobStore, number: int = 5) -> None:
    """So many pairs, counted in the same order whatever the database's."""
    for n in range(number):
        await rows.run(store.engine, f"old{n}", 1, queue=f"queue{n}")
        await Tallies(store.engine).fold()


async def grow_old(store: JobStore, days: int = 8) -> None:
    async with store.engine.begin() as connection:
        await connection.execute(text("UPDATE tallies SET seen_at = seen_at - :age"), {"age": days * DAY})


def pairs(counted: Tallies) -> set[tuple[str, str]]:
    return set(counted.series["submitted"])


async def test_what_is_dropped_is_counted_and_named_once(store: JobStore, caplog: pytest.LogCaptureFixture) -> None:
    await fill(store)
    page = Exposition(store, BUILD)
    assert value(await scrape(page), "series_dropped_total") == 0
    for n in range(3):
        await rows.run(store.engine, "late", n + 1, queue=f"late{n}")
        await scrape(page)
    found = await scrape(page)
    # Three events a job.
    assert value(found, "series_dropped_total") == 18
    assert value(found, "jobs_succeeded_total", task=OTHER, queue=OTHER) == 6
    assert value(await scrape(Exposition(store, BUILD)), "series_dropped_total") == 18, "the same from every gateway"
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "task 'late' in queue 'late0'" in lines[0].getMessage()


async def test_exceptions_beyond_their_limit_are_told_too(
    store: JobStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_limit, "MAX_EXCEPTIONS", 2)
    for n in range(3):
        await rows.run(store.engine, "t", 1, status="FAILURE", code="task_error", type=f"Error{n}")
        await store.tallies.fold()
    assert store.tallies.dropped == 1
    assert "exception 'Error2' of task 't'" in caplog.text


async def test_a_new_queue_is_visible_among_many_pairs(store: JobStore) -> None:
    await fill(store)
    async with store.engine.begin() as connection:
        await rows.insert(connection, [("late", "alpha")])
    found = await scrape(Exposition(store, BUILD))
    assert value(found, "jobs", queue="alpha", state="PENDING") == 1
    assert value(found, "queue_depth", queue="alpha") == 1


async def test_busy_queues_are_named_before_idle_ones(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.instruments.MAX_QUEUES", 2)
    await fill(store)
    async with store.engine.begin() as connection:
        await rows.insert(connection, [("late", "alpha")])
    found = await scrape(Exposition(store, BUILD))
    assert value(found, "queue_depth", queue="alpha") == 1
    assert value(found, "jobs", queue=OTHER, state="PENDING") == 0
    assert len([key for key in found if key[0] == "jobgate_queue_depth"]) == 3


async def test_a_registered_task_has_its_series_among_many_pairs(store: JobStore) -> None:
    await fill(store)
    store.tallies.limit.expect([("mine", "default")])
    await rows.run(store.engine, "mine", 2)
    await store.tallies.fold()
    assert store.tallies.dropped == 0
    assert ("mine", "default") in pairs(store.tallies)


async def test_pairs_without_events_for_the_retention_make_room(store: JobStore) -> None:
    await fill(store)
    replica = Tallies(store.engine)
    await replica.fold()
    await grow_old(store)
    store.tallies.forget_after(7 * DAY)
    store.tallies.limit.expect([("old0", "queue0")])
    before = await replica.totals()
    await rows.run(store.engine, "new", 1, queue="queue1")
    await store.tallies.fold()
    await rows.run(store.engine, "newer", 1, queue="queue1")
    await store.tallies.fold()
    assert pairs(store.tallies) == {("old0", "queue0"), ("new", "queue1"), ("newer", "queue1")}
    await replica.fold()
    assert replica.series == store.tallies.series, "another process notices"
    assert set(replica.series["jobs"]) == {("", "queue1"), ("", OTHER)}
    after = await replica.totals()
    assert {state: number - before[state] for state, number in after.items() if number != before[state]} == {
        "SUCCESS": 2
    }


async def test_nothing_that_was_seen_since_is_deleted(store: JobStore) -> None:
    await fill(store)
    await grow_old(store, days=6)
    async with store.engine.begin() as connection:
        await rows.insert(connection, [("waits", "long")])
    await store.tallies.fold()
    store.tallies.forget_after(7 * DAY)
    await rows.run(store.engine, "old0", 1, queue="queue0")
    await store.tallies.fold()
    assert len(pairs(store.tallies)) == 6


async def test_a_queue_with_open_jobs_is_not_deleted(store: JobStore) -> None:
    async with store.engine.begin() as connection:
        await rows.insert(connection, [("waits", "long")])
    await store.tallies.fold()
    await grow_old(store)
    store.tallies.forget_after(7 * DAY)
    await rows.run(store.engine, "new", 1)
    await store.tallies.fold()
    await store.tallies.read()
    assert store.tallies.series["jobs"]["", "long"]["PENDING"][0] == 1
    assert ("waits", "long") not in pairs(store.tallies)
