"""PostgreSQL: one writing connection per process, a pool for readers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress, count
from operator import not_
from typing import Any

import asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tasks import pg_session
from tasks.errors import SchemaMismatch, StoreUnavailable
from tasks.pg_pooler import refuse_shared_sessions
from tasks.store.backend import PARAM, ROWS, Item, Query, Refused, Rows, columns, lost, parted, resolved
from tasks.store.guards import CLOCK
from tasks.store.statements import kind

_FRAGMENTS = {
    "{least}": "LEAST",
    "{skip_locked}": "FOR UPDATE SKIP LOCKED",
    "{lock}": "FOR UPDATE",
    "{as_json}": "::json",
    "{among (}": "= ANY(ARRAY(",
    "{)}": "))",
}

#: The writer only ever looks rows up, and never by a plan that was right while the table was small: what could read it
#: whole is switched off, and then one plan is good for ever, and planning costs as much as the rest.
_WRITER_SETTINGS = """SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
    SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off; SET synchronous_commit = on"""

#: Seconds until a statement, or a connection, counts as lost: a server that vanished from the network says nothing.
PATIENCE = 30.0
#: Seconds that the pool's idle connections have to be closed in.
CLOSING = 1.0

#: What is wrong with the words or values of a statement; every other error is the server's.
_REFUSED = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.SyntaxOrAccessError,
    asyncpg.ProgramLimitExceededError,
)
_DOWN = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
#: Two processes met, or one has vanished with locks that the server takes from it after some seconds: trying again is
#: right.
_CLASHED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)


@lru_cache(512)
def _compiled(sql: str, clock: str, shared: tuple[bool, ...]) -> tuple[str, tuple[str, ...]]:
    """The statement with $1, $2 …, and the names of the first of them.

    After those come the columns of which `shared` says that all rows have the same value, then an array for each other.
    """
    # The clock in a SELECT of its own is read once a statement and not once a row.
    for mark, fragment in {**_FRAGMENTS, "{now}": f"(SELECT {clock})"}.items():
        sql = sql.replace(mark, fragment)
    names = tuple(dict.fromkeys(PARAM.findall(ROWS.sub("", sql))))
    # Cast, because PostgreSQL settles a parameter's type where it first meets it.
    sql = PARAM.sub(lambda match: f"CAST(${names.index(match[1]) + 1} AS {kind(match[1])})", sql)
    return ROWS.sub(lambda match: _arrays(columns(match[1]), shared, len(names)), sql), names


def _arrays(cells: list[tuple[str, str]], shared: tuple[bool, ...], offset: int) -> str:
    parameter = count(offset + 1)
    same = [f"CAST(${next(parameter)} AS {kind}) AS {name}" for name, kind in compress(cells, shared)]
    own = list(compress(cells, map(not_, shared)))
    arrays = ", ".join(f"CAST(${next(parameter)} AS {kind}[])" for _, kind in own)
    named = ", ".join(name for name, _ in own)
    return f"(SELECT {', '.join([*same, named])} FROM unnest({arrays}) AS given({named}))"


@contextlib.contextmanager
def _unreachable() -> Iterator[None]:
    """Errors on the way to a connection."""
    try:
        yield
    except (DBAPIError, *_DOWN) as error:
        raise StoreUnavailable(f"the store cannot be reached: {error}") from error


class Line:
    """A pooled connection kept for one purpose, talked to by its driver; a lost one is replaced at the next use."""

    def __init__(self, engine: AsyncEngine, clock: str, settings: str) -> None:
        self._engine = engine
        self._clock = clock
        self._settings = settings
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._turn = asyncio.Lock()

    async def transact(self, program: Sequence[Item]) -> list[Rows]:
        """Run all statements in one transaction. Raises Refused or StoreUnavailable."""
        async with self._turn:
            for _ in range(5):
                try:
                    return await self._transact(program)
                except _CLASHED:
                    continue
                except _REFUSED as error:
                    meaning = lost(error, "")
                    raise meaning if isinstance(meaning, SchemaMismatch) else Refused(str(error)) from error
                except _DOWN as error:
                    await self.drop()
                    raise lost(error, "the store did not answer") from error
        raise StoreUnavailable("the store is too busy: other transactions kept getting in the way")

    async def open(self) -> None:
        await self.drop()
        with _unreachable():
            self._connection = await self._engine.connect()
            pooled = await self._connection.get_raw_connection()
            self._driver = pooled.driver_connection
            await self._driver.execute(self._settings)

    async def close(self) -> None:
        """Close it without a word: a silent server would keep a polite one waiting for `PATIENCE` seconds."""
        if self._driver is not None:
            self._driver.terminate()
        await self.drop()

    async def drop(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    async def _transact(self, program: Sequence[Item]) -> list[Rows]:
        if self._driver is None or self._driver.is_closed():
            await self.open()
        if len(program) == 1:  # a single statement is its own transaction: two round trips fewer
            return await self._run_all(program)
        async with self._driver.transaction():
            return await self._run_all(program)

    async def _run_all(self, program: Sequence[Item]) -> list[Rows]:
        answers: list[Rows] = []
        for item in program:
            query = resolved(item, answers)
            answers.append([] if query is None else await self._run(query))
        return answers

    async def _run(self, query: Query) -> Rows:
        if query.rows is not None and not query.rows:
            return []
        shared, same, own = parted(query.rows) if query.rows is not None else ((), [], [])
        sql, names = _compiled(query.sql, self._clock, shared)
        return [tuple(row) for row in await self._driver.fetch(sql, *(query.params[n] for n in names), *same, *own)]


class PostgresBackend:
    """One line for writing and one for looking up, beside the engine's pool for everything else that is read."""

    def __init__(self, url: URL, clock: str) -> None:
        self.engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=5,
            max_overflow=5,
            connect_args={"timeout": PATIENCE, "command_timeout": PATIENCE},
        )
        pg_session.prepare(self.engine, pg_session.STORE)
        self._writer = Line(self.engine, clock, _WRITER_SETTINGS)
        self._reader = Line(self.engine, clock, _WRITER_SETTINGS)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        with _unreachable():
            await refuse_shared_sessions(self.engine, "DATABASE_URL", PATIENCE)
        await self._writer.open()
        await self._reader.open()

    async def transact(self, program: Sequence[Item]) -> list[Rows]:
        return await self._writer.transact(program)

    async def fetch(self, query: Query) -> Rows:
        return (await self._reader.transact([query]))[0]

    def transact_outside(self, program: Sequence[Item]) -> list[Rows]:
        return asyncio.run_coroutine_threadsafe(self.transact(program), self._loop).result()

    async def stop(self) -> None:
        await self._writer.close()
        await self._reader.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self.engine.dispose()


def make(url: URL, clock: str = CLOCK["postgresql"], **_: Any) -> PostgresBackend:
    """`clock` is the SQL for the present moment; tests put their own in its place."""
    return PostgresBackend(url, clock)
