"""What a worker's connection to RabbitMQ does when an answer never comes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from executors import celery_app
from executors.celery_app import make_celery
from executors.settings import Settings
from tests.chaos.proxy import Proxy
from tests.support.waiting import eventually


def test_a_request_that_rabbitmq_does_not_answer_ends_as_a_lost_connection(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's main loop sits in such a request after a reset that came at a bad moment."""
    monkeypatch.setattr(celery_app, "_AMQP", dict.fromkeys(celery_app._AMQP, 1.0))
    port = urlsplit(rabbitmq_url).port or 5672
    wire = Proxy(port)
    url = rabbitmq_url.replace(f":{port}", f":{wire.port}")
    connection = make_celery(Settings(broker_url=url), ["q"]).connection_for_read()
    try:
        channel: Any = connection.channel()
        channel.queue_declare("timeouts", auto_delete=True)
        wire.mode = "hole"
        with ThreadPoolExecutor(1) as thread:
            waits = thread.submit(channel.basic_consume, "timeouts")
            try:
                error = waits.exception(timeout=20)
            finally:
                wire.reset()
        assert isinstance(error, connection.connection_errors)
    finally:
        wire.mode = "pass"
        connection.collect()
        eventually(lambda: not wire._writers, what="the proxy has closed its connections")
        wire.stop()
