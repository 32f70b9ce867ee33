"""Finds out whether a pooler stands before PostgreSQL that gives one server session to several clients in turn.

In such a mode (PgBouncer's `pool_mode = transaction` or `statement`) settings, prepared statements and locks of one
client meet another one, or are gone: statements fail now and then, and locks of a vanished client are not freed.
"""

from __future__ import annotations

from typing import Any, cast

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from tasks.errors import ConfigurationError

#: Transactions of a second client in which the session of the first is looked for: more than a pooler has sessions
#: as a rule. PgBouncer gives the session that was used last, unless it is told to take turns.
LOOKS = 50

_REFUSAL = (
    "{setting}: {place} is a pooler that gives one PostgreSQL session to several clients in turn (PgBouncer's "
    "pool_mode = transaction), and Jobgate needs sessions of its own: use pool_mode = session, or the server itself"
)


async def refuse_shared_sessions(engine: AsyncEngine, setting: str, timeout: float) -> None:
    """Raises ConfigurationError if the engine's URL leads to shared sessions. Errors of the driver pass through.

    `setting` is the name of the setting that holds the URL; `timeout` in seconds.
    To be called before the engine's first connection: its prepared statements would stay behind in others' sessions.
    """
    url = engine.url
    _, arguments = engine.dialect.create_connect_args(url)
    arguments = {name: value for name, value in arguments.items() if not name.startswith("prepared_statement_")}
    arguments |= {"statement_cache_size": 0, "timeout": timeout, "command_timeout": timeout}
    first = await asyncpg.connect(**arguments)
    try:
        session = await _session(first)
        if session == first.get_server_pid():
            return  # no pooler: the server names the same process as the protocol did
        second = await asyncpg.connect(**arguments)
        try:
            for _ in range(LOOKS):
                if await _session(second) == session:
                    raise ConfigurationError(_REFUSAL.format(setting=setting, place=f"{url.host}:{url.port}"))
        finally:
            second.terminate()
    finally:
        first.terminate()


async def _session(connection: Any) -> int:
    """The process of the server that answers now. In a transaction: parts of one statement could meet two sessions."""
    async with connection.transaction():
        return cast(int, await connection.fetchval("SELECT pg_backend_pid()"))
