"""Rings at the broker: messages that carry a job's id under its task's name, and nothing else.

The thread is the only one that touches the broker, and nobody waits for it: a ring may be lost, late or doubled.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from kombu import Connection, Exchange, Producer

log = logging.getLogger("jobgate.doorbell")

#: The header that tells our rings from jobs which some other program sent straight to Celery.
HEADER = "jobgate"
#: Under which name to ring for a task that no live worker knows: each knows this one, and says so on the job.
UNKNOWN = "jobgate.unknown"

#: Seconds until a broker that does not answer counts as away. Each setting is needed: without `max_retries: 0` a
#: refused connection takes six seconds to be reported.
_PATIENCE = 1.0
_RETRY = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
_REDIS = {"ack_emulation": False, "socket_connect_timeout": _PATIENCE, "socket_timeout": _PATIENCE, **_RETRY}
#: Kombu's priority steps on Redis: 0, 3, 6 and 9, and 0 is served first. RabbitMQ ignores them on plain queues.
_STEPS = 4
_AMQP = {"confirm_publish": True, "connect_timeout": _PATIENCE, "read_timeout": _PATIENCE, "write_timeout": _PATIENCE}

#: Celery's message protocol, version 2: no arguments, no callbacks. A test holds it against the installed Celery.
_BODY: tuple[list[Any], dict[str, Any], dict[str, None]] = (
    [], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
)  # fmt: skip
_ORIGIN = f"{os.getpid()}@{socket.gethostname()}"


class Ring(NamedTuple):
    """A job that is due, and the queue where workers listen for it; `level` 0 is served strictly before 1."""

    job_id: str
    task: str
    queue: str
    level: int = 0


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
    """`failed` is called, from the doorbell's thread, with the rings that could not be published."""

    def __init__(self, broker_url: str, failed: Callable[[Sequence[Ring]], None]) -> None:
        self._url = broker_url
        self._failed = failed
        self._inbox: SimpleQueue[Sequence[Ring] | None] = SimpleQueue()
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self.error: str | None = "not tried yet"
        #: When the broker was last found away, in milliseconds since the epoch; None while it answers.
        self.away_since: int | None = None
        self._thread = Thread(target=self._run, name="jobgate-doorbell", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.ring([])

    def ring(self, rings: Sequence[Ring]) -> None:
        """Publish these, soon; an empty list only looks whether the broker is there."""
        self._inbox.put(rings)

    def stop(self) -> None:
        self._inbox.put(None)
        self._thread.join(timeout=2 * _PATIENCE)

    def _run(self) -> None:
        while (rings := self._inbox.get()) is not None:
            try:
                self._publish(rings)
                self.error = self.away_since = None
            except Exception as error:  # a broker's client may raise anything; whatever it is, the broker is away
                self._lost(error, rings)
        self._close()

    def _publish(self, rings: Sequence[Ring]) -> None:
        producer = self._producer or self._open()
        with producer.batch(max(1, len(rings))):
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

    def _open(self) -> Producer:
        options = _AMQP if self._url.startswith("amqp") else _REDIS
        self._connection = Connection(self._url, transport_options=options, connect_timeout=_PATIENCE)
        self._connection.ensure_connection(max_retries=0, timeout=_PATIENCE)
        self._producer = Producer(self._connection.channel(), exchange=Exchange(""), auto_declare=False)
        return self._producer

    def _lost(self, error: Exception, rings: Sequence[Ring]) -> None:
        if self.error is None or self.error == "not tried yet":
            log.warning("the broker is away: %s", error)
            self.away_since = round(time.time() * 1000)
        self.error = f"{type(error).__name__}: {error}"
        self._close()
        self._failed(rings)

    def _close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                connection.release()
            except Exception:  # closing what is broken may fail in as many ways as using it
                log.debug("the broker's connection broke while it was closed", exc_info=True)
