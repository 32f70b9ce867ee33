"""Rings at the broker: messages that carry a job's id under its task's name, and nothing else.

The thread is the only one that touches the broker, and nobody waits for it: a ring may be lost, late or doubled.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from kombu import Connection, Exchange, Producer

from executors.ears import HELD_UP

log = logging.getLogger("jobgate.doorbell")

#: The header that tells our rings from jobs which some other program sent straight to Celery.
HEADER = "jobgate"
#: Under which name to ring for a task that no live worker knows: each knows this one, and says so on the job.
UNKNOWN = "jobgate.unknown"
#: What every worker answers by a line in the registry, and the seconds that the queue of one that is gone may stay.
CANARY = "jobgate.canary"
CANARY_LIFE = 60.0
#: A key whose loss tells that Redis lost everything. Its value is whoever set it.
_EPOCH = "jobgate.epoch"

#: Seconds until a broker that does not answer counts as away. Each setting is needed: without `max_retries: 0` a
#: refused connection takes six seconds to be reported.
_PATIENCE = 1.0
#: Seconds until one that failed is asked again, even if nobody else asks.
_PAUSE = 0.5
_RETRY = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
_REDIS = {"ack_emulation": False, "socket_connect_timeout": _PATIENCE, "socket_timeout": _PATIENCE, **_RETRY}
#: Kombu's priority steps on Redis: 0, 3, 6 and 9, and 0 is served first. RabbitMQ ignores them on plain queues.
_STEPS = 4
_AMQP = {"confirm_publish": True, "connect_timeout": _PATIENCE, "read_timeout": _PATIENCE, "write_timeout": _PATIENCE}

#: Celery's message protocol, version 2: no arguments, no callbacks. A test holds it against the installed Celery.
_BODY: tuple[list[Any], dict[str, Any], dict[str, None]] = (
    [], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
)  # fmt: skip
NOT_TRIED = "not tried yet"
_ORIGIN = f"{os.getpid()}@{socket.gethostname()}"


class Ring(NamedTuple):
    """A job that is due, and the queue where workers listen for it; `level` 0 is served strictly before 1."""

    job_id: str
    task: str
    queue: str
    level: int = 0


def canary_queue(instance: str) -> str:
    """Returns the queue on which this worker, and no other of its name, gets pings."""
    return f"{CANARY}.{instance}"


def headers(ring: Ring) -> dict[str, Any]:
    """The headers of the message, as Celery's protocol 2 has them."""
    return {
        "lang": "py",
        "task": ring.task,
        "id": ring.job_id,
        "root_id": ring.job_id,
        "parent_id": None,
        "group": None,
        "group_index": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": _ORIGIN,
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        HEADER: 1,
    }


class Doorbell:
    """`lost` is called, from the doorbell's thread, when rings were lost: some could not be published, or the broker
    came back without what it had."""

    def __init__(self, broker_url: str, lost: Callable[[], None]) -> None:
        self._url = broker_url
        self._lost = lost
        self._redis = not broker_url.startswith("amqp")
        self._epoch: Any = None
        self._opened = 0
        self._inbox: SimpleQueue[Sequence[Ring] | None] = SimpleQueue()
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self.error: str | None = NOT_TRIED
        #: When the broker was last found away, in milliseconds since the epoch; None while it answers.
        self.away_since: int | None = None
        #: When the oldest question without an answer was put, by `time.monotonic`; None while there is none.
        self._asked_at: float | None = None
        self._read_at = self._excused_at = time.monotonic()
        #: Queues whose rings may be lost, set by the relay; and those of them that were found empty at the last look.
        self.doubtful: Sequence[str] = ()
        self.emptied: frozenset[str] = frozenset()
        self._thread = Thread(target=self._run, name="jobgate-doorbell", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.ring([])

    def ring(self, rings: Sequence[Ring]) -> None:
        """Publish these, soon; an empty list only looks whether the broker is there."""
        if rings or self._inbox.empty():
            self._inbox.put(rings)

    def silence(self, now: float) -> float:
        """Seconds for which the broker has left a question unanswered. To be read often: what lies before a reading
        that was held up is forgiven, for the process was held up with it."""
        if now - self._read_at > HELD_UP:
            self._excused_at = now
        self._read_at = now
        asked_at = self._asked_at
        return 0.0 if asked_at is None else max(0.0, now - max(asked_at, self._excused_at))

    def stop(self) -> None:
        self._inbox.put(None)
        self._thread.join(timeout=2 * _PATIENCE)

    def _run(self) -> None:
        while (rings := self._next()) is not None:
            if self._asked_at is None:
                self._asked_at = time.monotonic()
            try:
                self._publish(rings)
                self.error = self.away_since = self._asked_at = None
            except Exception as error:  # a broker's client may raise anything; whatever it is, the broker is away
                self._away(error, bool(rings))
        self._close()

    def _next(self) -> Sequence[Ring] | None:
        try:
            return self._inbox.get(timeout=None if self._asked_at is None else _PAUSE)
        except Empty:
            return []

    def _publish(self, rings: Sequence[Ring]) -> None:
        producer = self._producer or self._open()
        if not rings:
            self._look(producer.channel)
            return
        with producer.batch(len(rings)):
            for ring in rings:
                producer.publish(
                    _BODY,
                    routing_key=ring.queue,
                    serializer="json",
                    headers=headers(ring),
                    correlation_id=ring.job_id,
                    delivery_mode=2,
                    # On Redis the lists of one step are served before those of the next, whatever their queue.
                    priority=min(ring.level, _STEPS - 1) * 3,
                    retry=False,
                )
                if not self._redis:  # there each waits for its confirmation; on Redis all are sent together, below
                    self._asked_at = time.monotonic()
        for ring in rings if self._redis else ():
            if ring.task == CANARY:  # its worker may be gone for good
                producer.channel.client.expire(ring.queue, round(CANARY_LIFE))

    def _look(self, channel: Any) -> None:
        """Whether the broker is there, and still has what it had."""
        if self._redis:
            epoch = channel.client.get(_EPOCH)
            fresh = epoch is None and channel.client.set(_EPOCH, _ORIGIN + secrets.token_hex(8), nx=True)
            epoch = channel.client.get(_EPOCH) if epoch is None else epoch
        else:
            # A queue outlives its connection there, but not every crash of the server.
            channel.exchange_declare("amq.direct", "direct", passive=True)
            fresh, epoch = False, self._opened
        self.emptied = frozenset(queue for queue in self.doubtful if not self._waiting(queue))
        if self._epoch not in {None, epoch}:
            log.warning("the broker may have lost what was rung: it is rung again")
        if fresh or self._epoch not in {None, epoch}:
            self._lost()
        self._epoch = epoch

    def _waiting(self, queue: str) -> int:
        """How many messages lie there that no worker has fetched."""
        assert self._connection is not None
        try:
            # A channel for each: on AMQP, asking for a queue that is not there ends the channel.
            with self._connection.channel() as channel:
                found: int = channel.queue_declare(queue=queue, passive=True).message_count
                return found
        except self._connection.channel_errors:
            return 0

    def _open(self) -> Producer:
        options = _REDIS if self._redis else _AMQP
        self._connection = Connection(self._url, transport_options=options, connect_timeout=_PATIENCE)
        self._connection.ensure_connection(max_retries=0, timeout=_PATIENCE)
        self._opened += 1
        self._producer = Producer(self._connection.channel(), exchange=Exchange(""), auto_declare=False)
        return self._producer

    def _away(self, error: Exception, rung: bool) -> None:
        if self.error is None or self.error == NOT_TRIED:
            log.warning("the broker is away: %s", error)
            self.away_since = round(time.time() * 1000)
        self.error = f"{type(error).__name__}: {error}"
        self._close()
        if rung:
            self._lost()

    def _close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                connection.release()
            except Exception:  # closing what is broken may fail in as many ways as using it
                log.debug("the broker's connection broke while it was closed", exc_info=True)
