"""What folding and scraping cost: printed (`pytest -s`), not asserted, for machines differ."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from metrics.exposition import Exposition
from metrics.instruments import Build
from tasks.store.store import JobStore
from tasks.store.stretch import BOUNDS, bound_label
from tasks.store.tallies import Tallies
from tests.metrics import rows

TASKS, QUEUES = 100, 10


async def fill(engine: AsyncEngine) -> None:
    """Every bucket of every histogram, every counter, and two exceptions, of each task in each queue."""
    labels = [(name, bound_label(bounds, n), 1.5) for name, bounds in BOUNDS.items() for n in range(len(bounds) + 1)]
    labels += [(name, "", 0.0) for name in ("submitted", "started", "succeeded", "retried", "cancelled", "expired")]
    labels += [("failed", exception, 0.0) for exception in ("ValueError", "KeyError")]
    stand = [
        {"name": name, "task": f"tasks.pack.task_{task}", "queue": f"queue_{queue}", "label": label, "total": total}
        for task in range(TASKS)
        for queue in range(QUEUES)
        for name, label, total in labels
    ]
    insert = (
        "INSERT INTO tallies (name, task, queue, label, count, total) VALUES (:name, :task, :queue, :label, 5, :total)"
    )
    async with engine.begin() as connection:
        await connection.execute(text(insert), stand)


@pytest.mark.slow
async def test_a_scrape_of_a_hundred_tasks_in_ten_queues(store: JobStore) -> None:
    await fill(store.engine)
    eyes = Exposition(store, Build(version="1", executor="thread", database=store.engine.dialect.name))
    spent, page = [], b""
    for n in range(12):
        if n > 1:
            # Between two scrapes some jobs have run.
            await rows.run(store.engine, f"tasks.pack.task_{n}", 20, queue="queue_1")
        start = time.perf_counter()
        page = await eyes.render()
        spent.append((time.perf_counter() - start) * 1000)
    first, *rest = spent
    print(
        f"\n{store.engine.dialect.name}: {page.count(b'jobgate_')} lines, {len(page) / 1e6:.1f} MB; "
        f"first {first:.0f} ms, then median {sorted(rest)[len(rest) // 2]:.1f}, best {min(rest):.1f} ms"
    )


@pytest.mark.slow
async def test_folding_a_hundred_thousand_events(store: JobStore) -> None:
    for n in range(20):
        await rows.run(store.engine, f"task_{n % 10}", 1667, runtime=n / 10, wait=n / 5)
    folded = Tallies(store.engine)
    start = time.perf_counter()
    number = await folded.fold()
    print(f"\n{store.engine.dialect.name}: {number} events, {number / (time.perf_counter() - start):,.0f} a second")
