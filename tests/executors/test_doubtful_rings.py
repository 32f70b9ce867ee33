"""Which rings count as lost: those of a queue that the broker has nothing left of."""

from __future__ import annotations

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
