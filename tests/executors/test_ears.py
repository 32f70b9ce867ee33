"""Who lives and who hears, told by the registry's readings alone; and what a deaf worker does."""

from __future__ import annotations

import os
import signal
import time

import pytest

from executors.deafness import HOPE, PAUSE, Remedy
from executors.ears import REPEAT, Ears
from tasks.worker import Worker

SILENCE, PATIENCE, QUIET = 3.0, 5.0, 3.0
STEP = 0.25


class Registry:
    """Two workers of one name, read in steps of a quarter of a second.

    Those in `up` show life in each step, those in `hears` answer a ping at once.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.ears = Ears(SILENCE, self.now)
        self.up = {"a", "b"}
        self.hears = {"a", "b"}
        self.busy: set[str] = set()
        self.beats = 0
        self.life = 0
        self.heard = dict.fromkeys("ab", 0)
        self.called: list[str] = []

    def pass_time(self, seconds: float, step: float = STEP) -> None:
        for _ in range(round(seconds / step)):
            self.now += step
            self.beats += 1
            self.ears.read([self._worker(name) for name in self.heard], self.now)
            for name in self.ears.unheard(QUIET, self.now):
                self.called.append(name)
                self.heard[name] += name in self.hears

    def _worker(self, name: str) -> Worker:
        return Worker(
            owner=f"host/boot/1/1/{name}/{self.life}", name="celery@host", instance=name, host="host", pid=1,
            mode="celery", pool="prefork", slots=1, busy=int(name in self.busy), queues=("celery",), tasks=(),
            version="1", draining=False, seen_at=self.beats if name in self.up else 0, heard=self.heard[name],
        )  # fmt: skip

    @property
    def deaf(self) -> set[str]:
        return set(self.ears.deaf(PATIENCE, self.now))

    @property
    def live(self) -> set[str]:
        return {worker.instance for worker in self.ears.live}


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_who_hears_is_called_now_and_then_and_never_deaf(registry: Registry) -> None:
    registry.pass_time(60)
    assert registry.deaf == set()
    assert 10 <= registry.called.count("a") <= 20
    assert 20 <= registry.ears.answers <= len(registry.called)
    assert registry.live == {"a", "b"}


def test_who_lives_but_answers_nothing_is_deaf_and_hears_again(registry: Registry) -> None:
    registry.hears = {"a"}
    while "b" not in registry.called:
        registry.pass_time(STEP)
    registry.pass_time(PATIENCE - STEP)
    assert registry.deaf == set(), "not before its time"
    registry.pass_time(2 * STEP)
    assert registry.deaf == {"b"}
    registry.hears = {"a", "b"}
    registry.pass_time(REPEAT + 2 * STEP)
    assert registry.deaf == set()


def test_one_lost_canary_is_no_verdict(registry: Registry) -> None:
    registry.hears = set()
    registry.pass_time(QUIET + STEP)
    registry.hears = {"a", "b"}
    registry.pass_time(PATIENCE + 1)
    assert registry.deaf == set()


def test_who_has_no_idle_slot_is_not_asked(registry: Registry) -> None:
    registry.busy, registry.hears = {"b"}, {"a"}
    registry.pass_time(60)
    assert "b" not in registry.called
    assert registry.deaf == set()


def test_who_shows_no_life_is_gone_and_not_deaf(registry: Registry) -> None:
    registry.pass_time(5)
    registry.up = {"a"}
    registry.hears = {"a"}
    registry.pass_time(SILENCE + 2 * STEP)
    assert registry.live == {"a"}
    registry.pass_time(60)
    assert registry.deaf == set()


def test_a_store_that_was_away_makes_nobody_dead_or_deaf(registry: Registry) -> None:
    registry.pass_time(5)
    registry.hears = set()
    registry.pass_time(QUIET + STEP)
    registry.up = set()
    registry.pass_time(30, step=30)
    assert registry.live == {"a", "b"}
    assert registry.deaf == set()


def test_a_broker_that_was_away_excuses_everybody(registry: Registry) -> None:
    registry.hears = set()
    registry.pass_time(QUIET + PATIENCE - STEP)
    registry.ears.forgive(registry.now)
    registry.pass_time(PATIENCE)
    assert registry.deaf == set()


def test_what_a_process_heard_before_it_was_known_is_no_answer(registry: Registry) -> None:
    registry.heard["a"] = 7
    registry.pass_time(1)
    assert registry.ears.answers == 0


def test_what_a_process_that_is_gone_heard_is_forgotten(registry: Registry) -> None:
    registry.pass_time(1)
    registry.life += 1
    registry.pass_time(STEP)
    assert registry.ears._ears["a"].heard.keys() == {"host/boot/1/1/a/1"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [5000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_deaf_worker_connects_anew_then_ends_then_is_killed(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, int]] = []
    drained: list[bool] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    remedy = Remedy(lambda: drained.append(True), grace=7.0)
    remedy.connect_anew()  # nothing is wrong
    remedy.take_in(True)
    with pytest.raises(ConnectionResetError):
        remedy.connect_anew()
    remedy.connect_anew()  # once
    clock[0] += HOPE - 1
    remedy.take_in(True)
    assert not sent
    assert not remedy.ended
    clock[0] += 1
    remedy.take_in(True)
    assert (sent, drained, remedy.ended) == ([(os.getpid(), signal.SIGTERM)], [True], True)
    clock[0] += 6
    remedy.take_in(True)
    assert len(sent) == 1
    clock[0] += 1
    remedy.take_in(True)
    assert sent[1] == (os.getpid(), signal.SIGKILL)


def test_a_parent_that_hangs_while_it_drains_is_killed_although_the_mark_is_gone(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    remedy = Remedy(lambda: None, grace=7.0)
    remedy.take_in(True)
    clock[0] += HOPE
    remedy.take_in(True)
    clock[0] += 7
    remedy.take_in(False)
    assert sent == [signal.SIGTERM, signal.SIGKILL]


def test_a_worker_that_hears_again_is_left_in_peace(clock: list[float]) -> None:
    remedy = Remedy(lambda: None, grace=7.0)
    for _ in range(3):
        remedy.take_in(True)
        with pytest.raises(ConnectionResetError):
            remedy.connect_anew()
        clock[0] += HOPE - 1
        remedy.take_in(False)
        remedy.connect_anew()
        clock[0] += PAUSE
    assert not remedy.ended
