"""What must not end a sign of life: orders of another release, and errors of whatever kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from executors.carrier import Carrier
from executors.crew import Crew
from executors.heartbeat import Heartbeat
from executors.keeper import Claimer
from executors.runner import Runner
from executors.thread_executor import ThreadExecutor
from tasks.command import Verb
from tasks.job import Mode
from tasks.registry import Registry
from tasks.store.store import JobStore, open_store
from tests.support.waiting import eventually_async

OWNER = "tests/beats"
CLAIMER = Claimer(owner=OWNER, mode="thread", lease=30.0, grace=1.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    store = await open_store(f"sqlite:///{tmp_path / 'jobs.db'}", Mode.THREAD)
    yield store
    await store.stop()


@pytest.fixture
async def executor(store: JobStore) -> ThreadExecutor:
    executor = ThreadExecutor(store, Runner(Registry(), 1 << 20), CLAIMER, 1, [["q"]])
    executor.heartbeat = Heartbeat(store, CLAIMER, "gateway@tests", "threads", executor, Registry())
    return executor


async def test_a_verb_of_another_release_is_answered(store: JobStore, executor: ThreadExecutor) -> None:
    crew = Crew(store)
    await executor.heartbeat.beat()
    await crew.tell(None, cast(Verb, "levitate"), None, 0.0)
    await executor.heartbeat.beat()

    async def answered() -> bool:
        return all(command.finished_at for command in await crew.latest(10))

    await eventually_async(answered, within=10)
    (command,) = await crew.latest(10)
    assert (command.verb, command.ok) == ("levitate", False)
    assert "does not know 'levitate'" in (command.outcome or "")


async def test_an_error_of_whatever_kind_does_not_end_it(
    store: JobStore, executor: ThreadExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("executors.heartbeat.BEAT", 0.01)
    heartbeat = executor.heartbeat
    await heartbeat.start()
    beat, failed = heartbeat.beat, asyncio.Event()
    beaten = asyncio.Event()

    async def torn() -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError("torn JSON")
        await beat()
        beaten.set()

    monkeypatch.setattr(heartbeat, "beat", torn)
    await asyncio.wait_for(beaten.wait(), 10)
    await heartbeat.stop()
    assert "a sign of life failed" in caplog.text


async def test_a_carrier_goes_on_looking_at_its_parents_word(caplog: pytest.LogCaptureFixture) -> None:
    words = iter([ValueError("torn"), None])
    seen = asyncio.Event()

    def take_in(deaf: bool) -> None:
        if error := next(words, None):
            raise error
        seen.set()

    carrier = object.__new__(Carrier)
    carrier.__dict__ |= {
        "_role": SimpleNamespace(word=SimpleNamespace(losses=0, drain_at=0.0), take_in=take_in),
        "_heartbeat": SimpleNamespace(deaf=False, draining=False),
    }
    watch = asyncio.create_task(carrier._watch_parent())
    await asyncio.wait_for(seen.wait(), 10)
    watch.cancel()
    assert "the parent's word could not be followed" in caplog.text
