"""Which rings count as lost: those of a queue that the broker has nothing left of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from executors.celery_doorbell import Doorbell, Ring
from tests.support.waiting import eventually


@contextmanager
def _bell(url: str) -> Iterator[Doorbell]:
    bell = Doorbell(url, lambda: None)
    bell.start()
    try:
        yield bell
    finally:
        bell.stop()


def _finds(bell: Doorbell, emptied: set[str]) -> None:
    def look() -> bool:
        bell.ring([])
        return bell.emptied == emptied

    eventually(look, what=f"{emptied} found empty")


@pytest.mark.parametrize("kind", ["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_a_queue_that_still_holds_rings_is_in_no_doubt(make_broker: Callable[[str], str], kind: str) -> None:
    from kombu import Connection, Queue

    url = make_broker(kind)
    with Connection(url) as broker, _bell(url) as bell:
        queue = Queue("doubt", routing_key="doubt")(broker.default_channel)
        queue.declare()
        bell.doubtful = ["doubt", "never-heard-of"]
        bell.ring([Ring("one", "t", "doubt"), Ring("two", "t", "doubt")])
        _finds(bell, {"never-heard-of"})
        queue.purge()
        _finds(bell, {"doubt", "never-heard-of"})
        bell.doubtful = []
        _finds(bell, set())
        queue.delete()


def test_only_a_question_without_an_answer_is_silence(make_broker: Callable[[str], str]) -> None:
    with _bell(make_broker("redis")) as bell:
        eventually(lambda: bell.error is None, what="the broker has answered")
        now = time.monotonic()
        assert [bell.silence(now + second) for second in range(60)] == [0.0] * 60, "nobody asked for a minute"


def test_a_broker_that_is_away_is_silent_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Doorbell] = []

    def refuse(bell: Doorbell) -> None:
        asked.append(bell)
        raise ConnectionRefusedError

    monkeypatch.setattr(Doorbell, "_open", refuse)
    with _bell("redis://127.0.0.1:1/0") as bell:
        eventually(lambda: len(asked) >= 3, what="the one question is repeated")
        eventually(lambda: bell.silence(time.monotonic()) > 1, what="silence")
        held_up = time.monotonic() + 60
        assert bell.silence(held_up) == 0, "this process did not look"
        assert bell.silence(held_up + 1) == 1
