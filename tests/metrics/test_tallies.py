"""Each event counts once: whoever folds, however late it was committed, whatever it is called."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from metrics.exposition import Exposition
from tasks.job import State
from tasks.store import series_limit
from tasks.store.store import JobStore
from tasks.store.stretch import MAX_NAME, OTHER
from tasks.store.tallies import Tallies
from tests.metrics import rows
from tests.metrics.test_exposition import BUILD, scrape, value


def counts(folded: Tallies, name: str) -> dict[str, int]:
    """By label, over all tasks and queues."""
    found: Counter[str] = Counter()
    for series in folded.series[name].values():
        found.update({label: count for label, (count, _) in series.items()})
    return dict(found)


def number(folded: Tallies, name: str) -> int:
    return sum(counts(folded, name).values())


async def scalar(engine: AsyncEngine, sql: str) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text(sql))).scalar_one()


async def every_ending(engine: AsyncEngine) -> None:
    """One job on each way a job can take."""
    await rows.run(engine, "t", 1, runtime=2.0)
    await rows.run(engine, "t", 1, status="FAILURE", code="task_error", type="ValueError")
    await rows.run(engine, "t", 1, status="FAILURE", code="worker_lost")
    await rows.run(engine, "t", 1, status="RETRY", code="task_error", type="ValueError")
    await rows.run(engine, "t", 1, status="RETRY", code="worker_lost")
    await rows.run(engine, "t", 1, status="PENDING", runtime=None)
    await rows.run(engine, "t", 1, status="RETRY", runtime=None)
    await rows.run(engine, "t", 1, status="REVOKED", code="cancelled")
    async with engine.begin() as connection:
        ids = await rows.insert(connection, [("t", "default")] * 4)
        await rows.revoke(connection, ids[:1], "cancelled")
        await rows.revoke(connection, ids[1:2], "expired")
        await rows.claim(connection, ids[2:3], wait=0.2)


async def test_every_transition_has_its_counter(engine: AsyncEngine) -> None:
    await every_ending(engine)
    folded = Tallies(engine)
    await folded.fold()
    names = ("submitted", "started", "succeeded", "retried", "cancelled", "expired", "interrupted", "lost")
    assert [number(folded, name) for name in names] == [12, 9, 1, 2, 2, 1, 2, 2]
    assert counts(folded, "failed") == {"ValueError": 1, "worker_lost": 1}
    assert counts(folded, "wait") == {"0.05": 8, "0.25": 1}
    # A lost attempt has no runtime, and neither has one that was given back.
    assert counts(folded, "runtime") == {"0.5": 3, "5.0": 1}


async def test_the_states_are_those_of_the_rows(engine: AsyncEngine) -> None:
    await every_ending(engine)
    found = await Tallies(engine).totals()
    async with engine.connect() as connection:
        stand = await connection.execute(text("SELECT status, count(*) FROM jobs GROUP BY status"))
        assert found == {State(status): count for status, count in stand}


async def test_a_job_that_was_cleaned_up_still_counts(engine: AsyncEngine) -> None:
    await rows.run(engine, "t", 3)
    folded = Tallies(engine)
    await folded.fold()
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM events"))
        await connection.execute(text("DELETE FROM jobs"))
    await rows.run(engine, "t", 2)
    assert (await folded.totals())[State.SUCCESS] == 5


async def test_many_folders_at_once_count_each_event_once(store: JobStore, url: str) -> None:
    engine = store.engine
    folders = [Tallies(engine) for _ in range(5)]
    done = asyncio.Event()

    async def write() -> None:
        for n in range(20):
            await rows.run(engine, f"t{n % 3}", 10, runtime=0.5)
        done.set()

    async def fold(folder: Tallies) -> int:
        folded = 0
        while not done.is_set():
            folded += await folder.fold(stretch=7, passes=3)
            await asyncio.sleep(0)
        return folded + await folder.fold(stretch=7, passes=1000)

    writing = asyncio.create_task(write())
    folded = await asyncio.gather(*map(fold, folders))
    await writing
    assert sum(folded) + await folders[0].fold() == 600
    for folder in folders:
        await folder.read()
        assert [number(folder, name) for name in ("submitted", "started", "succeeded")] == [200] * 3
        assert folder.series == folders[0].series
    assert await scalar(engine, "SELECT sum(total) FROM tallies WHERE name = 'runtime'") == 100.0


async def test_a_late_commit_is_not_skipped(engine: AsyncEngine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: nothing commits out of order")
    folded = Tallies(engine)
    async with engine.begin() as late:
        await rows.insert(late, [("late", "default")])
        await rows.run(engine, "early", 1)
        # The late one holds lower numbers: what was committed after it waits for it.
        assert await folded.fold() == 0
    assert await folded.fold() == 4
    assert counts(folded, "jobs") == {"PENDING": 1, "STARTED": 0, "SUCCESS": 1}


async def test_what_is_held_back_is_told(engine: AsyncEngine, store: JobStore) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: nothing is held back")
    page = Exposition(store, BUILD)
    async with engine.begin() as late:
        await rows.insert(late, [("late", "default")])
        await rows.run(engine, "early", 1)
        found = await scrape(page)
        assert value(found, "uncounted_events") == 3
        assert value(found, "counting_lag_seconds") > 0
    page = Exposition(store, BUILD)
    found = await scrape(page)
    assert (value(found, "uncounted_events"), value(found, "counting_lag_seconds")) == (0, 0)


async def test_what_nobody_has_counted_is_told(engine: AsyncEngine) -> None:
    folded = Tallies(engine)
    assert await folded.uncounted() == (0, 0.0)
    await rows.run(engine, "t", 2)
    assert (await folded.uncounted())[0] == 6
    await folded.fold()
    assert await folded.uncounted() == (0, 0.0)


async def test_a_later_number_in_an_older_transaction_is_not_skipped(engine: AsyncEngine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: nothing commits out of order")
    folded = Tallies(engine)
    async with engine.begin() as old:
        await rows.insert(old, [("old", "default")])
        await rows.run(engine, "young", 1)
        await rows.insert(old, [("old", "default")])
    assert await folded.fold(stretch=1, passes=100) == 5
    assert number(folded, "submitted") == 3


async def test_a_restored_dump_counts_on_after_what_the_page_says(engine: AsyncEngine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no transaction numbers")
    await rows.run(engine, "t", 5)
    await Tallies(engine).fold()
    await rows.run(engine, "t", 3)
    # As if all this came from a server that had seen many more transactions.
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    remedy = page.split("```sql\n")[1].split("```")[0]
    async with engine.begin() as connection:
        for statement in (
            "UPDATE events SET txid = txid + 1000000000",
            "UPDATE cursors SET txid = txid + 1000000000",
            *remedy.strip().rstrip(";").split(";"),
        ):
            await connection.execute(text(statement))
    await rows.run(engine, "t", 2)
    folded = Tallies(engine)
    assert await folded.fold() == 15
    assert number(folded, "succeeded") == 10


async def test_a_restart_keeps_the_counters(engine: AsyncEngine) -> None:
    await rows.run(engine, "t", 5)
    assert await Tallies(engine).fold() == 15
    await rows.run(engine, "t", 2)
    again = Tallies(engine)
    assert await again.fold() == 6
    assert number(again, "succeeded") == 7


async def test_a_replica_sees_what_another_counted(engine: AsyncEngine) -> None:
    one, other = Tallies(engine), Tallies(engine)
    await rows.run(engine, "t", 5)
    await one.fold()
    assert await other.fold() == 0
    assert other.series == one.series
    unchanged = other.series["succeeded"]["t", "default"]
    await rows.run(engine, "u", 5)
    await one.fold()
    await other.read()
    assert other.series == one.series
    assert other.series["succeeded"]["t", "default"] is unchanged


async def test_nothing_is_counted_when_adding_fails(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    await rows.run(engine, "t", 5)
    folded = Tallies(engine)
    with monkeypatch.context() as broken:
        broken.setattr(folded, "_add", text("INSERT INTO nowhere (a) VALUES (:rows)"))
        with pytest.raises(Exception, match="tallies"):
            await folded.fold()
    assert await scalar(engine, "SELECT seq FROM cursors WHERE name = 'tallies'") == 0
    assert await folded.fold() == 15
    assert number(folded, "succeeded") == 5


async def test_a_histogram_holds_every_attempt_and_its_seconds(engine: AsyncEngine) -> None:
    runtimes = [0.001, 0.01, 0.02, 0.5, 7.0, 4000.0]
    for n, runtime in enumerate(runtimes):
        await rows.run(engine, "t", 1, runtime=runtime, wait=float(n))
    folded = Tallies(engine)
    await folded.fold()
    series = folded.series["runtime"]["t", "default"]
    assert {label: count for label, (count, _) in series.items()} == {
        "0.01": 2,
        "0.05": 1,
        "0.5": 1,
        "10.0": 1,
        "+Inf": 1,
    }
    assert sum(total for _, total in series.values()) == pytest.approx(sum(runtimes))
    assert sum(total for _, total in folded.series["wait"]["t", "default"].values()) == pytest.approx(15)


async def test_hostile_names_do_not_make_series(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_limit, "MAX_PAIRS", 5)
    for n in range(80):
        await rows.run(engine, "t", 1, status="FAILURE", code="task_error", type=f"Error{n}" + "x" * 500)
    for n in range(20):
        await rows.run(engine, f"task{n}", 1, queue=f"queue{n}")
    folded = Tallies(engine)
    await folded.fold(stretch=50)
    failures = folded.series["failed"]["t", "default"]
    assert len(failures) == series_limit.MAX_EXCEPTIONS + 1
    assert failures[OTHER][0] == 30
    assert max(map(len, failures)) <= MAX_NAME
    assert len(folded.series["submitted"]) == 6
    assert number(folded, "submitted") == 100
    again = Tallies(engine)
    await again.read()
    assert again.series == folded.series


async def test_the_numbers_of_events_are_never_used_again(engine: AsyncEngine) -> None:
    """Or the cursor, which is past them, would skip the new ones for ever."""
    await rows.run(engine, "t", 1)
    last = await scalar(engine, "SELECT max(seq) FROM events")
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM events"))
    await rows.run(engine, "t", 1)
    assert await scalar(engine, "SELECT min(seq) FROM events") > last


async def test_due_jobs_are_those_that_only_lack_a_slot(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        ids = await rows.insert(connection, [("t", "a")] * 3 + [("t", "b")])
        await rows.claim(connection, ids[2:])
        await connection.execute(text("UPDATE jobs SET rank = NULL, held = 1 WHERE id = :id"), {"id": ids[1]})
    found = await Tallies(engine).due()
    assert list(found) == ["a"]
    assert found["a"][0] == 1
    assert found["a"][1] > 1000


async def test_due_jobs_are_read_from_their_index(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await rows.insert(connection, [("t", "a")])
        if engine.dialect.name == "postgresql":
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
        explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
        plan = (await connection.execute(text(f"{explain} {Tallies(engine)._due.text}"))).all()
    assert "jobs_ready" in str(plan), plan
