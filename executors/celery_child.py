"""Adapts the processes of Celery's prefork pool, which billiard runs, to jobs whose outcomes are in the store."""

from __future__ import annotations

from billiard import pool


def prepare_child() -> None:
    """Call in a new process of the pool.

    A process that ends would wait up to 30 seconds for its parent to read each result. A parent that shuts down reads
    nothing more, and it needs no result: the process has written each outcome to the store.
    """
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 1
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL = 0
