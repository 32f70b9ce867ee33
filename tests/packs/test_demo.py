"""The demo pack does what its names say."""

from __future__ import annotations

import asyncio
import time

import pytest

from tasks import registry
from tasks.errors import Cancelled, InvalidArguments
from tasks.packs import demo
from tasks.testing import Recorder


def test_the_demo_tasks_are_registered_on_the_default_queue() -> None:
    found = {task.name: task.queue for task in registry.load(["tasks.packs.demo"])}
    assert found == dict.fromkeys(("demo.add", "demo.sleep", "demo.fail", "demo.count"), "default")


def test_add_adds() -> None:
    assert demo.add(2, 3) == 5


def test_sleep_waits_and_says_how_long() -> None:
    started = time.monotonic()
    assert asyncio.run(demo.sleep(0.01)) == 0.01
    assert time.monotonic() - started >= 0.01


def test_sleep_refuses_a_time_before_it_is_accepted() -> None:
    with pytest.raises(InvalidArguments, match="seconds"):
        demo.sleep.signature.check([-1], {})


def test_fail_succeeds_on_the_attempt_after_the_failures() -> None:
    for attempt in (1, 2):
        with pytest.raises(RuntimeError, match=f"attempt {attempt} fails"):
            demo.fail(Recorder(attempt=attempt).context, 2)
    assert demo.fail(Recorder(attempt=3).context, 2) == 3


def test_count_reports_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PACE", 0)
    recorder = Recorder()
    assert demo.count(recorder.context, 3) == 3
    assert [report["current"] for report in recorder.progress] == [1, 2, 3]
    assert recorder.log == [("info", "counted to 3")]


def test_count_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PACE", 0)
    recorder = Recorder()
    recorder.stop_after(1, Cancelled)
    with pytest.raises(Cancelled):
        demo.count(recorder.context, 3)
    assert len(recorder.progress) == 1
