"""Looks at the broker for a doctor: queue lengths, memory, what else lies there. Changes nothing; blocks its thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from kombu import Connection
from kombu.exceptions import ChannelError

from executors.celery_app import make_celery
from executors.facts import BrokerFacts, WireFacts
from executors.settings import Settings, is_loopback, place_of

#: Seconds until a broker that does not answer counts as away.
_PATIENCE = 1.0
_OPTIONS: dict[str, Any] = {"socket_connect_timeout": _PATIENCE, "socket_timeout": _PATIENCE, "max_retries": 0}
_AMQP = {"connect_timeout": _PATIENCE, "read_timeout": _PATIENCE, "write_timeout": _PATIENCE}
#: Keys of a Redis that are looked through for another program's results.
_SCANS, _KEYS = 10, 1_000


def look_at_broker(settings: Settings, queues: Sequence[str]) -> BrokerFacts:
    """The broker of these settings."""
    url, place = settings.broker_url, place_of(settings.broker_url)
    redis = not url.startswith("amqp")
    try:
        with Connection(url, transport_options=_OPTIONS if redis else _AMQP, connect_timeout=_PATIENCE) as connection:
            connection.ensure_connection(max_retries=0, timeout=_PATIENCE)
            messages = {queue: _messages(connection, queue) for queue in queues}
            more = {**_redis_facts(connection.default_channel.client), "open": _is_open(url)} if redis else {}
    except Exception as error:  # a broker's client may raise anything; whatever it is, nothing can be read
        return BrokerFacts(place=place, error=f"{type(error).__name__}: {error}")
    return BrokerFacts(place=place, messages=messages, **more)


def look_at_wire(settings: Settings, queues: Sequence[str]) -> WireFacts:
    """What Celery makes of these settings, and of the variables that it reads past us."""
    app = make_celery(settings, queues or ["celery"])
    options = app.conf.broker_transport_options
    return WireFacts(
        acks_late=bool(app.conf.task_acks_late),
        ack_emulation=settings.broker_url.startswith("redis") and bool(options.get("ack_emulation", True)),
        result_backend=app.conf.result_backend,
        read_place=place_of(app.conf.broker_read_url or settings.broker_url),
    )


def _messages(connection: Connection, queue: str) -> int:
    # A channel of its own: asking for a queue that is not there closes it.
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except ChannelError:
        return 0
    finally:
        channel.close()


def _redis_facts(client: Any) -> dict[str, Any]:
    memory, stats = client.info("memory"), client.info("stats")
    return {
        "memory": int(memory["used_memory"]),
        "max_memory": int(memory.get("maxmemory", 0)),
        "policy": str(memory.get("maxmemory_policy", "")),
        "evicted": int(stats.get("evicted_keys", 0)),
        "unacked": int(client.hlen("unacked")),
        "results": _has_results(client),
    }


def _is_open(url: str) -> bool:
    """Whether a Redis that other machines may reach answers a client without a password."""
    parts = urlsplit(url)
    if not parts.hostname or is_loopback(parts.hostname):
        return False
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        with Connection(bare, transport_options=_OPTIONS, connect_timeout=_PATIENCE) as connection:
            return bool(connection.default_channel.client.ping())
    except Exception:  # it refuses the client, in one of many ways
        return False


def _has_results(client: Any) -> bool:
    cursor = 0
    for _ in range(_SCANS):
        cursor, keys = client.scan(cursor, match="celery-task-meta-*", count=_KEYS)
        if keys or not cursor:
            return bool(keys)
    return False
