"""Plain Celery with a Redis result backend: what our end-to-end figures are held against.

As a module it is the worker's application; `python -m bench.plain_celery N` publishes N no-op jobs, reads all of their
results, and prints the seconds that took.
"""

from __future__ import annotations

import os
import sys
import time

from celery import Celery, group

BROKER = os.environ.get("BENCH_BROKER", "redis://127.0.0.1:6379")

app = Celery("plain", broker=f"{BROKER}/1", backend=f"{BROKER}/2")
# The settings of our own worker, where they are not about switching results off.
app.conf.update(
    worker_prefetch_multiplier=1,
    task_acks_late=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_serializer="json",
    accept_content=["json"],
)


@app.task(name="bench.plain.noop")  # type: ignore[untyped-decorator]
def noop() -> None:
    """Nothing."""


def run(number: int) -> float:
    """Publish, and read every result."""
    started = time.perf_counter()
    result = group(noop.s() for _ in range(number)).apply_async()
    result.join_native(timeout=300)
    return time.perf_counter() - started


if __name__ == "__main__":
    noop.delay().get(timeout=30)  # connections stand and the worker is there before the clock runs
    print(run(int(sys.argv[1])))
