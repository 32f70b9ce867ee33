"""A module of tasks that makes the worker that loads it deaf, in the ways in which Celery's workers have been.

It has no tasks: named in TASK_MODULES of a worker, it waits for a file to say how.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from celery import signals

#: Seconds between two looks at the file that DEAF_ORDER names. It may hold "wedge": the connection's credit is used up
#: for good, as kombu leaves it when an acknowledgement fails; or "cancel": nothing is consumed on any connection, as
#: after an operator's slip.
_LOOK = 0.1


def _obey(consumer: Any, order: Path) -> None:
    if order.exists():
        how = order.read_text()
        order.unlink()
        if how == "wedge":
            consumer.task_consumer.channel.qos.can_consume = lambda: False
        else:
            for queue in list(consumer.app.amqp.queues.consume_from):
                consumer.cancel_task_queue(queue)


@signals.worker_ready.connect(weak=False)
def _ready(sender: Any = None, **_: Any) -> None:
    order = os.environ.get("DEAF_ORDER")
    if order:
        sender.hub.call_repeatedly(_LOOK, partial(_obey, sender, Path(order)))
