"""The Celery application of a worker: a wire that brings rings, with everything else Celery can do switched off."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu import Connection, Exchange, Queue
from kombu.transport import redis
from redis.exceptions import ResponseError

from executors.settings import Settings
from tasks.errors import explain

log = logging.getLogger("jobgate.worker")

#: The reasons, setting by setting, are in docs/decisions/0003-celery-is-a-wire.md.
_CONFIG = {
    "task_ignore_result": True,
    "result_backend": None,
    "task_serializer": "json",
    "accept_content": ["json"],
    "event_serializer": "json",
    "task_acks_late": False,
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # An error that the broker answers, such as READONLY, OOM or WRONGTYPE, is handled like a lost connection.
    "broker_channel_error_retry": True,
    "worker_proc_alive_timeout": 30,
    "worker_hijack_root_logger": False,
    "worker_consumer": "executors.celery_consumer:CheckedConsumer",
    "enable_utc": True,
    "task_create_missing_queues": True,
}

#: A worker waits for its messages without a limit; a limit here wedges it (kombu leaks a credit with a failed ack).
_REDIS = {
    "ack_emulation": False,
    "socket_keepalive": True,
    "socket_timeout": None,
    "health_check_interval": 25,
    "queue_order_strategy": "priority",
}

#: Seconds that RabbitMQ may take to answer a request of a worker, such as to consume. Without a limit an answer that a
#: reset connection lost holds the worker's main loop for ever, and nothing in that loop can connect again. Waiting for
#: messages is no request: an idle worker is not disturbed.
AMQP_TIMEOUT = 5.0
_AMQP = {"read_timeout": AMQP_TIMEOUT, "write_timeout": AMQP_TIMEOUT}

#: Seconds between two tries of a worker whose broker is away. Kombu's pauses grow to half a minute, and so long jobs
#: would wait for a broker that is back.
_RECONNECT = {"interval_start": 1, "interval_step": 0, "interval_max": 1}


#: Seconds before a worker connects again after Redis answered with an error, such as READONLY from a replica.
ERROR_PAUSE = 1.0


class _Channel(redis.Channel):
    """Keeps the worker running when Redis answers with an error, or with an element that another program sent and that
    is no message."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu ships no types
        except ResponseError as error:
            log.warning("worker: Redis answered with an error, the worker connects again: %s", explain(error, 300))
            time.sleep(ERROR_PAUSE)
            raise
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            log.warning("worker: an element of a queue is no message and was dropped: %s", explain(error, 300))
            return True


class _RedisTransport(redis.Transport):
    Channel = _Channel


class _Connection(Connection):
    def get_transport_cls(self) -> Any:
        found = super().get_transport_cls()  # type: ignore[no-untyped-call]  # kombu ships no types
        return _RedisTransport if found is redis.Transport else found

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        return super().ensure_connection(*args, **{**_RECONNECT, **options})  # type: ignore[no-untyped-call]  # theirs


class _Wire(AMQP):  # type: ignore[misc]  # Celery ships no types
    Connection = _Connection


def make_celery(settings: Settings, queues: Sequence[str]) -> Celery:
    """An application that listens on `queues`, the first served first where the broker can."""
    app = Celery("jobgate", broker=settings.broker_url, amqp=_Wire, set_as_current=False)
    redis = settings.broker_url.startswith(("redis", "rediss"))
    app.conf.update(
        _CONFIG,
        broker_transport_options=_REDIS if redis else _AMQP,
        task_queues=[Queue(name, Exchange(name, type="direct"), routing_key=name) for name in queues],
        task_default_queue=queues[-1],
        worker_enable_remote_control=settings.remote_control,
        worker_concurrency=settings.celery_concurrency,
        worker_pool=settings.celery_pool,
        worker_max_tasks_per_child=settings.celery_max_tasks_per_child or None,
        worker_soft_shutdown_timeout=0.0,
    )
    return app
