"""Lets old results expire and old rows go, in the order in which their jobs ended."""

from __future__ import annotations

import time
from typing import NamedTuple

from tasks.inventory import Expiry
from tasks.store import retention
from tasks.store.backend import Query
from tasks.store.store import JobStore

#: Events that one transaction passes at most: a job has three or more, so it touches some three hundred rows.
CHUNK = 1_000
#: Seconds between looks once everything old is done.
PAUSE = 10.0
#: While there is more to do, the pause is so many times as long as the work took: others write meanwhile.
REST = 4.0
#: Milliseconds that an event may be committed late, behind younger ones: so much longer rows stand. Readers do not
#: wait for it: to them a result is gone when its time is over.
LATE = 60_000


class Retention:
    """`result_age` and `job_age` in milliseconds after a job's end. Any number of processes may do this at once."""

    def __init__(self, store: JobStore, result_age: int, job_age: int) -> None:
        self._store = store
        self._result_age = max(result_age, LATE)
        self._job_age = max(job_age, LATE)

    async def results(self) -> float:
        """Empty the rows whose results nobody may read any more; seconds until the next look."""
        return (await _pass(self._store, "results", self._result_age, retention.EXPIRE_RESULTS)).pause

    async def jobs(self) -> float:
        """Delete the rows of jobs that ended long ago, with their events and logs."""
        deletions = (retention.DELETE_LOGS, retention.DELETE_JOBS, retention.DELETE_EVENTS)
        return (await _pass(self._store, "retention", self._job_age, *deletions)).pause


async def expire(store: JobStore) -> Expiry:
    """Empty all results whose time is over, without a pause."""
    age = max(store.result_age, LATE)
    emptied, passed = 0, await _pass(store, "results", age, retention.EXPIRE_RESULTS)
    while not passed.done:
        emptied, passed = emptied + passed.rows, await _pass(store, "results", age, retention.EXPIRE_RESULTS)
    gone, results = (await store.look_up(retention.RESULTS, age=store.result_age))[0]
    return Expiry(emptied=emptied + passed.rows, gone=gone, kept=results - gone)


class _Pass(NamedTuple):
    """One look: whether everything old is done, how many rows its first statement told of, seconds until the next."""

    done: bool
    rows: int = 0
    pause: float = PAUSE


async def _pass(store: JobStore, name: str, age: int, *statements: str) -> _Pass:
    started = time.perf_counter()
    found = await store.run(retention.FRONTIER, name=name)
    behind = found[0][0] if found else 0
    last, young = (await store.run(retention.STRETCH, behind=behind, age=age, n=CHUNK))[0]
    upto = last if young is None else young - 1
    if upto is None or upto <= behind:
        return _Pass(done=True)
    bounds = {"name": name, "behind": behind, "upto": upto, "age": age}
    program = [Query(sql, bounds) for sql in (*statements, retention.ADVANCE)]
    rows = await store.writer.run(*program, answer=lambda results: len(results[0]))
    done = young is not None
    return _Pass(done, rows, PAUSE if done else REST * (time.perf_counter() - started))
