"""What is done to the broker and to the connections to it. Each fault lasts a while, and is over when it returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from amqp import Message
from kombu import Connection

from tests.chaos.site import Supervised

#: The queue of all jobs of a run.
QUEUE = "celery"
#: Nothing listens on this port of loopback.
NOWHERE = ("127.0.0.1", 1)
#: Elements of a queue that no publisher of Celery's writes.
MALFORMED = (
    b"{", b"not JSON", b"[]", b"17", b"null", b"{}", b"\xff\xfe", b'{"body": 5, "headers": 5, "properties": 5}',
    b'{"body": "e30=", "content-type": "application/json", "headers": {}, "properties": {}}',
    b'{"body": "W10=", "content-type": "application/json", "content-encoding": "utf-8",'
    b' "headers": {"task": "chaos.work"},'
    b' "properties": {"body_encoding": "base64", "delivery_tag": "1", "delivery_info": {"routing_key": "celery"}}}',
)  # fmt: skip


def _restart(part: Any, pause: float) -> None:
    """`part` is a Redis or a RabbitMQ."""
    process = part.process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stop()
    time.sleep(pause)
    part.start()


@contextmanager
def _redis(target: Supervised) -> Iterator[Any]:
    """A client of the server itself, past the proxy."""
    assert target.stage.redis is not None
    with redis.Redis(port=target.stage.redis.port) as client:
        yield client


def kill_redis(target: Supervised, chance: random.Random) -> None:
    """Back after a while, and empty."""
    _restart(target.stage.redis, chance.uniform(0.2, 2.0))


def flush_redis(target: Supervised, chance: random.Random) -> None:
    with _redis(target) as client:
        client.flushall()


def _out_of_memory(client: Any, refuse: bool) -> None:
    """OOM."""
    client.config_set("maxmemory", 1 if refuse else 0)


def _without_replicas(client: Any, refuse: bool) -> None:
    """NOREPLICAS."""
    client.config_set("min-replicas-to-write", int(refuse))


def _read_only(client: Any, refuse: bool) -> None:
    """READONLY, as a server answers that a failover has made a replica."""
    client.replicaof(*NOWHERE) if refuse else client.replicaof("NO", "ONE")


def _disk_full(client: Any, refuse: bool) -> None:
    """MISCONF: the last snapshot could not be written."""
    client.config_set("stop-writes-on-bgsave-error", "yes" if refuse else "no")
    client.config_set("save", "3600 1" if refuse else "")
    if refuse:
        home = client.config_get("dir")["dir"]
        client.config_set("dir", "/proc")
        client.bgsave()
        time.sleep(0.5)
        client.config_set("dir", home)


def refuse_writes(target: Supervised, chance: random.Random) -> None:
    """Redis answers each write with an error, in one of the four ways that it has."""
    refuses: Callable[[Any, bool], None] = chance.choice([_out_of_memory, _without_replicas, _read_only, _disk_full])
    with _redis(target) as client:
        try:
            refuses(client, True)
            time.sleep(chance.uniform(1.5, 8.0))
        finally:
            refuses(client, False)


def malformed_in_redis(target: Supervised, chance: random.Random) -> None:
    """Elements that are no messages, and then a key of a wrong type where the queue was."""
    with _redis(target) as client:
        client.lpush(QUEUE, *chance.sample(MALFORMED, len(MALFORMED)))
        time.sleep(chance.uniform(0.2, 1.0))
        client.set(QUEUE, "a string where a list should be")
        time.sleep(chance.uniform(0.2, 2.0))
        client.delete(QUEUE)


def malformed_in_rabbit(target: Supervised, chance: random.Random) -> None:
    """Messages whose body is not what their head says, and without a head."""
    assert target.stage.rabbit is not None
    with Connection(target.stage.rabbit.url) as connection:
        channel = connection.default_channel
        for body in MALFORMED:
            kind = chance.choice(["application/json", "application/x-python-serialize", "text/plain", "no/such"])
            head = chance.choice([{}, {"task": "chaos.work"}, {"task": "chaos.work", "id": "no-such-id"}])
            message = Message(body, content_type=kind, content_encoding="utf-8", application_headers=head)
            channel.basic_publish(message, exchange="", routing_key=QUEUE)


def stall_broker(target: Supervised, chance: random.Random) -> None:
    """It is there, and says nothing."""
    part = target.stage.redis or target.stage.rabbit
    assert part is not None
    os.killpg(part.process.pid, signal.SIGSTOP)
    time.sleep(chance.choice([1.5, 3.0, 3.0, 10.0]))
    os.killpg(part.process.pid, signal.SIGCONT)


def kill_rabbit(target: Supervised, chance: random.Random) -> None:
    _restart(target.stage.rabbit, chance.uniform(0.2, 2.0))


def wire(mode: str, seconds: tuple[float, float]) -> Callable[[Supervised, random.Random], None]:
    """The fault that lets the connections to the broker pass bytes in this mode for a while."""

    def cut(target: Supervised, chance: random.Random) -> None:
        wire = target.stage.broker_wire
        assert wire is not None
        wire.mode = mode
        time.sleep(chance.uniform(*seconds))
        wire.mode = "pass"
        if mode != "slow":  # what a hole swallowed is missing from the stream
            wire.reset()

    return cut


def reset_broker(target: Supervised, chance: random.Random) -> None:
    assert target.stage.broker_wire is not None
    target.stage.broker_wire.reset()
