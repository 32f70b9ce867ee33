"""How many wake-up messages the relay has out: as many as are answered quickly, few as soon as jobs become long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from executors.base import Patience
from executors.celery_executor import LEAST_OUT, MOST_OUT, CeleryExecutor, _serving
from executors.strangers import Strangers
from executors.word import Word
from tasks.errors import ConfigurationError
from tasks.job import Mode
from tasks.store.store import JobStore, open_store
from tests.store.support import worker

SLOTS = 2


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    store = await open_store(f"sqlite:///{tmp_path}/jobs.db", Mode.CELERY)
    yield store
    await store.stop()


@pytest.fixture
async def relay(store: JobStore) -> CeleryExecutor:
    relay = CeleryExecutor(store, "redis://127.0.0.1:1/0", [["q"]], Patience(), Strangers())
    serve(relay, ["q"])
    return relay


def serve(relay: CeleryExecutor, queues: list[str], slots: int = SLOTS) -> None:
    relay._workers = [worker("w", mode="celery", queues=tuple(queues), slots=slots)]
    relay._serving = _serving(relay._workers)


def look(relay: CeleryExecutor, out: int, answers: int) -> int:
    """Slots answer up to that many messages, then the relay sends all that it may; returns how many are out."""
    out = max(0, out - answers)
    relay._grant({"q": out})
    relay._out += relay._credit["q"]
    return out + relay._credit["q"]


async def test_the_window_follows_the_pace_at_which_messages_are_answered(relay: CeleryExecutor) -> None:
    out = look(relay, 0, 0)
    for _ in range(30):
        out = look(relay, out, 40)
    assert 40 <= out <= 60, "no slot waits for the next look"
    for _ in range(30):
        out = look(relay, out, 10_000)
    assert out == MOST_OUT * SLOTS
    for _ in range(60):
        out = look(relay, out, 4)
    assert out <= 4 + LEAST_OUT * SLOTS


async def test_no_more_are_sent_once_jobs_are_long(relay: CeleryExecutor) -> None:
    out = look(relay, 0, 0)
    for _ in range(30):
        out = look(relay, out, 40)
    long = out
    for _ in range(100):
        out = look(relay, out, 0)
    assert out == long, "none was sent on top of what was out"
    for number in range(10 * long):
        out = look(relay, out, int(number % 10 == 0))
    assert out == LEAST_OUT * SLOTS, "it shrinks to the least"


async def test_workers_of_thousands_of_queues_share_one_credit(store: JobStore) -> None:
    names = [f"customer-{n:04}" for n in range(3_000)]
    relay = CeleryExecutor(store, "redis://127.0.0.1:1/0", [names], Patience(), Strangers())
    serve(relay, names[:-1], slots=4)
    relay._grant({names[0]: 3, names[-1]: 50})
    assert {relay._credit[name] for name in names[:-1]} == {LEAST_OUT * 4 - 3}
    assert relay._credit[names[-1]] == 0


@pytest.mark.parametrize("number", [1, 1_600, 5_000])
def test_a_worker_process_knows_any_number_of_queues(number: int) -> None:
    names = [f"customer-{n:04}-of-a-shop-with-a-long-name" for n in range(number)]
    word = Word(names)
    assert word.queues == names
    word.queues = [*names, "another"]
    assert word.queues[-1] == "another"
    with pytest.raises(ConfigurationError, match="bytes"):
        word.queues = [*names, "x" * 70_000]
