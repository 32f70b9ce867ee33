"""SQLite: one writing connection on a thread of its own, readers beside it (WAL)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, compress, count
from operator import not_
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from tasks.errors import ConfigurationError, StoreUnavailable
from tasks.private_files import create_private
from tasks.store.backend import PARAM, ROWS, Item, Query, Refused, Rows, columns, lost, make_folder, parted, resolved
from tasks.store.guards import CLOCK
from tasks.store.sqlite_files import OpenFiles

#: Seconds a statement waits for another process's transaction before it gives up.
BUSY_TIMEOUT = 10.0

_FRAGMENTS = {
    # Read once a transaction and bound: the date functions cost more than the rest of an update.
    "{now}": ":now",
    "{least}": "MIN",
    "{skip_locked}": "",
    "{lock}": "",
    "{as_json}": "",  # the operators of JSON take text
    "{among (}": "IN (",
    "{)}": ")",
}


#: What is wrong with the values of a statement; every other error is the file's, the disk's or another process's.
_REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
            OverflowError, ValueError)  # fmt: skip  # the last two: integers over 64 bits, text that is no UTF-8

#: Rows in one statement. Bound as VALUES they cost a third of what json_each does, and the interpreter's lock is let go
#: once for all of them; powers of two keep the number of prepared statements small.
CHUNK = 128


@lru_cache(512)
def _compiled(sql: str, size: int, shared: tuple[bool, ...]) -> tuple[str, tuple[str, ...]]:
    """The statement for `size` rows with numbered parameters, and the names of the first of them.

    After those come the columns of which `shared` says that all rows have the same value, then the rows of the others.
    """
    for mark, fragment in _FRAGMENTS.items():
        sql = sql.replace(mark, fragment)
    names = tuple(dict.fromkeys(PARAM.findall(ROWS.sub("", sql))))
    sql = PARAM.sub(lambda match: f"?{names.index(match[1]) + 1}", sql)
    return ROWS.sub(lambda match: _values(columns(match[1]), size, shared, len(names)), sql), names


def _values(cells: list[tuple[str, str]], size: int, shared: tuple[bool, ...], offset: int) -> str:
    parameter = count(offset + 1)
    same = [f"?{next(parameter)} AS {name}" for name, _ in compress(cells, shared)]
    own = [f"column{n} AS {name}" for n, (name, _) in enumerate(compress(cells, map(not_, shared)), 1)]
    rows = ", ".join(f"({', '.join(f'?{next(parameter)}' for _ in own)})" for _ in range(size))
    named = ", ".join([*same, *own])
    return f"(SELECT {named} FROM (VALUES {rows}))"


class SqliteBackend:
    """Every write goes through one connection: `database is locked` can only come from another process."""

    def __init__(self, url: URL, synchronous: str, clock: str) -> None:
        if sqlite3.sqlite_version_info < (3, 38):
            raise ConfigurationError(f"SQLite 3.38 or newer is needed; this Python has {sqlite3.sqlite_version}")
        if url.database in (None, "", ":memory:"):
            raise ConfigurationError(
                "DATABASE_URL: an in-memory SQLite cannot keep jobs; name a file: sqlite:///jobs.db"
            )
        self._path = Path(str(url.database))
        make_folder(url)
        self._clock = f"SELECT {clock}"
        pragmas = f"PRAGMA synchronous = {synchronous}; PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}"
        plain = url.set(drivername="sqlite")
        self.engine = create_async_engine(url.set(drivername="sqlite+aiosqlite"), pool_size=4, max_overflow=4)
        self._writer_engine = create_engine(
            plain,
            poolclass=NullPool,
            connect_args={"isolation_level": None, "check_same_thread": False, "cached_statements": 256},
        )
        for engine in (self.engine.sync_engine, self._writer_engine):
            event.listen(engine, "do_connect", lambda *_: create_private(url.database))
            event.listen(engine, "connect", lambda connection, _: _prepare(connection, pragmas))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobgate-sqlite")
        self._connection: PoolProxiedConnection | None = None
        self._reader: PoolProxiedConnection | None = None
        self._turn = Lock()

    async def start(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def transact(self, program: Sequence[Item]) -> list[Rows]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, program)

    async def fetch(self, query: Query) -> Rows:
        # On the loop itself: a look-up by key takes less than changing to another thread and back would.
        assert self._reader is not None, "the backend has not been started"
        connection: Any = self._reader.driver_connection
        try:
            now = connection.execute(self._clock).fetchone()[0] if "{now}" in query.sql else 0
            return _run(connection, query, now)
        except sqlite3.Error as error:
            raise lost(error, "the store cannot be read now") from error

    def transact_outside(self, program: Sequence[Item]) -> list[Rows]:
        return self._transact(program)

    async def stop(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()
        await self.engine.dispose()

    def _open(self) -> None:
        self._connection = self._writer_engine.raw_connection()
        self._reader = self._writer_engine.raw_connection()
        connection: Any = self._connection.driver_connection
        self._files = OpenFiles(str(self._path), connection)

    def _close(self) -> None:
        for connection in (self._reader, self._connection):
            if connection is not None:
                connection.close()
        self._writer_engine.dispose()

    def _transact(self, program: Sequence[Item]) -> list[Rows]:
        with self._turn:
            return self._transact_in_turn(program)

    def _transact_in_turn(self, program: Sequence[Item]) -> list[Rows]:
        assert self._connection is not None, "the backend has not been started"
        connection: Any = self._connection.driver_connection
        if (problem := self._files.problem()) is not None:
            raise StoreUnavailable(problem)
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                now = connection.execute(self._clock).fetchone()[0]
                answers: list[Rows] = []
                for item in program:
                    query = resolved(item, answers)
                    answers.append([] if query is None else _run(connection, query, now))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except _REFUSED as error:
            raise Refused(str(error)) from error
        except sqlite3.Error as error:
            raise lost(error, "the store cannot be written now") from error
        # A file that went meanwhile: nothing is confirmed that a restart would not find.
        if (loss := self._files.loss()) is not None:
            raise StoreUnavailable(loss)
        return answers


def _run(connection: sqlite3.Connection, query: Query, now: int) -> Rows:
    if query.rows is None:
        sql, names = _compiled(query.sql, 0, ())
        return connection.execute(sql, _bound(query, names, now)).fetchall()
    return [row for chunk in _chunks(query.rows) for row in _run_chunk(connection, query, chunk, now)]


def _run_chunk(connection: sqlite3.Connection, query: Query, rows: Sequence[Sequence[Any]], now: int) -> Rows:
    shared, same, own = parted(rows)
    sql, names = _compiled(query.sql, len(rows), shared)
    values = chain(_bound(query, names, now), same, chain.from_iterable(zip(*own, strict=True)))
    return connection.execute(sql, list(values)).fetchall()


def _bound(query: Query, names: Sequence[str], now: int) -> list[Any]:
    return [now if name == "now" else query.params[name] for name in names]


def _chunks(rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
    start = 0
    while start < len(rows):
        size = min(CHUNK, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + size]
        start += size


def _prepare(connection: Any, pragmas: str) -> None:
    cursor = connection.cursor()
    # WAL is a property of the file: the first to open it sets it, and every reader keeps reading while we write.
    for pragma in ("PRAGMA journal_mode = WAL", *pragmas.split("; ")):
        cursor.execute(pragma)
    cursor.close()


def make(url: URL, synchronous: str = "NORMAL", clock: str = CLOCK["sqlite"]) -> SqliteBackend:
    """`clock` is the SQL for the present moment; tests put their own in its place."""
    return SqliteBackend(url, synchronous, clock)
