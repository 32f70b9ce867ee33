"""The tables of a pack: SQLAlchemy Core on an async engine, beside the record and never in its way.

On SQLite they lie in a file of their own: SQLite has one writer, and the record needs its own. Connections belong to
one loop each; a process may have several (the gateway's, that of the bodies), so an engine is made for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, MetaData, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tasks import pg_session
from tasks.errors import ConfigurationError, JobgateError, StoreUnavailable
from tasks.private_files import create_private
from tasks.store.backend import absent_file

_SQLITE = "sqlite+aiosqlite"
#: Seconds for a connection to PostgreSQL.
_CONNECTING = 10
#: By kind of database: the driver, and what it is told. On SQLite: seconds to wait for another process's transaction;
#: on PostgreSQL: those for a connection, and those for a statement.
_DRIVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sqlite": (_SQLITE, {"isolation_level": None, "timeout": 30}),
    "postgresql": ("postgresql+asyncpg", {"timeout": _CONNECTING, "command_timeout": 120}),
}
#: Classes of SQLSTATE that pass: connection, rollback (a deadlock), resources, an operator's work, the system.
_PASSING = ("08", "40", "53", "57", "58")
#: Transactions of one pack at a time on one loop: they share the database with the record.
_AT_ONCE = 8
_PRAGMAS = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "PRAGMA foreign_keys = ON")
_WRITES = "jobgate_writes"
#: Processes that start together all want to make the tables: one does.
_ALONE = "SELECT pg_advisory_xact_lock(5268713295)"


class Database:
    """The tables of one `MetaData`, in the place that the process was told."""

    def __init__(self, tables: MetaData) -> None:
        self.tables = tables
        self._url: URL | None = None
        self._engines: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncEngine] = WeakKeyDictionary()
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._inside: ContextVar[bool] = ContextVar("jobgate_inside", default=False)

    def configure(self, url: str) -> None:
        self._url = make_url(url)
        self._engines.clear()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; committed at the end, rolled back by an exception. Raises StoreUnavailable.

        On SQLite it is the only one; on PostgreSQL others run beside it: lock what you read (`with_for_update`).
        """
        async with self._connected() as connection, (await _for_writing(connection)).begin():
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads. Raises StoreUnavailable."""
        async with self._connected() as connection:
            yield connection

    async def missing(self) -> list[str]:
        """The tables that are not there; a file that is not there stays so."""
        if self._url is not None and absent_file(self._url):
            return list(self.tables.tables)
        async with self.reading() as connection:
            there = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
        return [name for name in self.tables.tables if name not in there]

    async def create(self) -> None:
        """Make the tables that are not there. Raises StoreUnavailable and ConfigurationError."""
        if self._url is not None and self._url.get_backend_name() == "postgresql":
            from tasks.pg_pooler import refuse_shared_sessions  # noqa: PLC0415 - its driver is part of an extra

            with suppress(OSError, TimeoutError):  # then the transaction says what is wrong
                await refuse_shared_sessions(self._engine(), "JOBGATE_PACKS_DATABASE_URL", _CONNECTING)
        async with self.writing() as connection:
            await connection.run_sync(self._create)

    async def close(self) -> None:
        engine = self._engines.pop(asyncio.get_running_loop(), None)
        if engine is not None:
            await engine.dispose()

    def _create(self, connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_ALONE)
        self.tables.create_all(connection)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._turn(), self._engine().connect() as connection:
                yield connection
        except (OperationalError, InterfaceError, OSError) as error:
            raise StoreUnavailable(f"the packs' database does not answer: {error}") from error
        except DBAPIError as error:
            if error.connection_invalidated or str(getattr(error.orig, "sqlstate", ""))[:2] in _PASSING:
                raise StoreUnavailable(f"the packs' database went away: {error}") from error
            raise
        except StatementError as error:
            # Raised in the middle of a statement: what its body is stopped with, in SQLAlchemy's wrapping.
            if isinstance(error.orig, JobgateError):
                raise error.orig from None
            raise

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of a few transactions; one inside another has its turn already, or they could wait for each other."""
        if self._inside.get():
            yield
            return
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)):
            mark = self._inside.set(True)
            try:
                yield
            finally:
                self._inside.reset(mark)

    def _engine(self) -> AsyncEngine:
        loop = asyncio.get_running_loop()
        engine = self._engines.get(loop)
        if engine is None:
            engine = self._engines[loop] = self._make()
        return engine

    def _make(self) -> AsyncEngine:
        if self._url is None:
            raise ConfigurationError("this pack's tables have no place: name the pack in JOBGATE_PACKS")
        driver, options = _DRIVERS[self._url.get_backend_name()]
        # No pool: a loop of bodies may end at any time, and what it had open would be left to the garbage collector.
        engine = create_async_engine(self._url.set(drivername=driver), poolclass=NullPool, connect_args=options)
        if driver == _SQLITE:
            path = self._url.database
            event.listen(engine.sync_engine, "do_connect", lambda *_: create_private(path))
            event.listen(engine.sync_engine, "connect", _prepare)
            event.listen(engine.sync_engine, "begin", _begin)
        else:
            pg_session.prepare(engine, pg_session.PACKS)
        return engine


async def _for_writing(connection: AsyncConnection) -> AsyncConnection:
    return await connection.execution_options(**{_WRITES: True})


def _prepare(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    # Who will write says so at once: a transaction that begins by reading could not wait for its turn later.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
