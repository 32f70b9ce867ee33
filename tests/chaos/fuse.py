"""Ends its own process at the k-th statement of a job's way: laid into a real gateway or worker before it starts.

Counted are the transactions that carry a job along, from the one that accepts it on; upkeep and signs of life are not.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from tasks.store import rings, statements
from tasks.store.backend import Item, Query
from tasks.store.sqlite import SqliteBackend

_NAMES = {
    text: name
    for module in (statements, rings)
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str)
}
_WAY = {"ACCEPT", "ACCEPT_ONCE", "TAKE", "RING", "CLAIM", "PROGRESS", "LOG", "SETTLE"}

#: Whether the transaction that runs here carries a job.
_counted: ContextVar[bool] = ContextVar("counted", default=False)


def name_of(sql: str) -> str:
    """What the store calls a statement; two of them are made for the queues that are served."""
    made = "RING" if "SET rung_at = {now}" in sql else "TAKE" if "attempt = attempt + 1" in sql else "other"
    return _NAMES.get(sql, made)


class Fuse:
    """Kills this process -9 at the `at`-th point, having told `told` (a descriptor) which one that is."""

    def __init__(self, at: int, told: int, armed: bool) -> None:
        self._left = at
        self._told = told
        #: A worker's way begins with the claim, a gateway's with the acceptance.
        self._armed = armed

    def enter(self, program: Sequence[Item]) -> None:
        names = {name_of(item.sql) for item in program if isinstance(item, Query)}
        self._armed = self._armed or bool(names & {"ACCEPT", "ACCEPT_ONCE"})
        _counted.set(self._armed and bool(names & _WAY))

    def point(self, where: str) -> None:
        if not _counted.get():
            return
        self._left -= 1
        if self._left == 0:
            os.write(self._told, where.encode())
            os.kill(os.getpid(), signal.SIGKILL)


class _Wire:
    """A driver's connection whose transactions have points before they begin, and before and after they commit."""

    def __init__(self, connection: Any, fuse: Fuse) -> None:
        self._connection = connection
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @property
    def driver_connection(self) -> _Wire:
        return _Wire(self._connection.driver_connection, self._fuse)

    def execute(self, sql: str, *values: Any) -> Any:
        word = sql.split(maxsplit=1)[0]
        if word in ("BEGIN", "COMMIT"):
            self._fuse.point(f"before {word}")
        answer = self._connection.execute(sql, *values)
        if word == "COMMIT":
            self._fuse.point("after COMMIT")
        return answer


def lay_into_sqlite(fuse: Fuse) -> None:
    module: Any = importlib.import_module("tasks.store.sqlite")
    backend: Any = SqliteBackend
    opened, transact, run = backend._open, backend._transact_in_turn, module._run

    def open_(self: Any) -> None:
        opened(self)
        self._connection = _Wire(self._connection, fuse)

    def transact_(self: Any, program: Sequence[Item]) -> Any:
        fuse.enter(program)
        return transact(self, program)

    def run_(connection: Any, query: Query, now: int) -> Any:
        fuse.point(f"before {name_of(query.sql)}")
        return run(connection, query, now)

    backend._open, backend._transact_in_turn, module._run = open_, transact_, run_


def lay_into_postgres(fuse: Fuse) -> None:
    line: Any = importlib.import_module("tasks.store.postgres").Line
    driver: Any = importlib.import_module("asyncpg.connection").Connection
    transact, run, execute = line._transact, line._run, driver.execute

    async def transact_(self: Any, program: Sequence[Item]) -> Any:
        fuse.enter(program)
        answer = await transact(self, program)
        if len(program) == 1:  # without BEGIN and COMMIT
            fuse.point("after COMMIT")
        return answer

    async def run_(self: Any, query: Query) -> Any:
        fuse.point(f"before {name_of(query.sql)}")
        return await run(self, query)

    async def execute_(self: Any, query: str, *values: Any, **options: Any) -> Any:
        word = query.split(maxsplit=1)[0].rstrip(";")
        if word in ("BEGIN", "COMMIT"):
            fuse.point(f"before {word}")
        answer = await execute(self, query, *values, **options)
        if word == "COMMIT":
            fuse.point("after COMMIT")
        return answer

    line._transact, line._run, driver.execute = transact_, run_, execute_


def lay(fuse: Fuse, database_url: str) -> None:
    """Into the store of this process, whichever it will open."""
    if database_url.startswith("sqlite"):
        lay_into_sqlite(fuse)
    else:
        lay_into_postgres(fuse)
