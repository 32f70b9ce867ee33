"""The application of a plain Celery worker: late acknowledgement and a Redis result backend, the rest as Celery has it.

The bodies are those of `tests.chaos.tasks`, and write into the same ledger.
"""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

from tests.chaos.tasks import line
from tests.support.ledger import note

app = Celery("plain", broker=os.environ["PLAIN_BROKER"], backend=os.environ["PLAIN_BACKEND"])
app.conf.update(task_acks_late=True, task_track_started=True, broker_connection_retry_on_startup=True)


@app.task(name="chaos.work", bind=True, max_retries=3)
def work(self: Any, path: str, key: str, seconds: float = 0.0, failures: int = 0) -> list[object]:
    attempt = self.request.retries + 1
    note(path, line("start", key, attempt))
    time.sleep(seconds)
    if self.request.retries < failures:
        raise self.retry(countdown=0)
    note(path, line("end", key, attempt))
    return [key, attempt]


@app.task(name="chaos.broken", bind=True)
def broken(self: Any, path: str, key: str) -> None:
    note(path, line("start", key, 1))
    raise ValueError("broken")
