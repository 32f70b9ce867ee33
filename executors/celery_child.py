"""Celery's pools: which one runs, and its processes, adapted to jobs whose outcomes are in the store."""

from __future__ import annotations

import os
import sys
from multiprocessing import process
from typing import Any, NoReturn

from billiard import current_process, pool
from celery.concurrency import get_implementation

from executors.leaving import flush_output

#: Of the worker's parent, before billiard starts anything.
_MAIN_PROCESS = process.current_process()

#: Celery's modules of the pools in which jobs can run, and the names that CELERY_POOL has for them.
_POOLS = {
    "celery.concurrency.prefork": "prefork",
    "celery.concurrency.thread": "threads",
    "celery.concurrency.solo": "solo",
}


def pool_name(chosen: Any) -> str:
    """The name of the pool that Celery is to run; ends the worker where jobs cannot run in it."""
    module = get_implementation(chosen).__module__
    if module not in _POOLS:
        print(
            f"jobgate: the pool {module} cannot run jobs; choose one of {', '.join(_POOLS.values())}", file=sys.stderr
        )
        raise SystemExit(2)
    return _POOLS[module]


def prepare_child() -> None:
    """Call in a new process of the pool.

    A process that ends would wait up to 30 seconds for its parent to read each result. A parent that shuts down reads
    nothing more, and it needs no result: the process has written each outcome to the store.
    """
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 1
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL = 0
    # For `multiprocessing` in tasks: billiard puts its own object there, which forbids child processes and whose key
    # does not reach a process that is spawned.
    process._current_process = _MAIN_PROCESS  # type: ignore[attr-defined]  # their stubs leave it out


def end_child() -> NoReturn:
    """End this process of the pool, which has written all that it had to.

    billiard would tell the parent, and then sleep for a second so that it reads that. A parent that shuts down reads
    nothing more, and waits for the process itself.
    """
    flush_output()
    os._exit(0)


def process_index() -> int:
    """The place of this process in its pool: a process that takes the place of a dead one has the same."""
    return int(getattr(current_process(), "index", 0))


def pool_processes(pool: Any) -> dict[int, int]:
    """The pids of the processes of a prefork pool, by their places in it."""
    return {process.index: process.pid for process in pool._pool._pool}
