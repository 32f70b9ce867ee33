"""What packs are told when a process starts: their settings, and where their tables are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from executors import environment
from tasks.errors import ConfigurationError
from tasks.registry import Registry
from tasks.store.backend import parse_url


def configure(found: Registry, environ: Mapping[str, str], place: Callable[[], str]) -> None:
    """Tell every pack its settings, and `place()` to those with tables. Raises ConfigurationError."""
    for pack in found.packs:
        if pack.database is not None:
            pack.database.configure(place())
        pack.configure(environment.read(pack.kind, pack.variables, environ))


def place_beside(database_url: str) -> str:
    """Where the packs' tables are unless a deployment says otherwise: in the record's PostgreSQL database, or in a
    SQLite file of their own beside it (SQLite has one writer, and the record needs it)."""
    url = parse_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return database_url
    path = Path(url.database)
    return url.set(database=str(path.with_stem(f"{path.stem}-packs"))).render_as_string(False)


async def make_ready(found: Registry, database_url: str) -> None:
    """See to it that their tables are there: on SQLite they are made, otherwise ConfigurationError has the remedy."""
    if parse_url(database_url).get_backend_name() == "sqlite":
        await create_tables(found)
    elif gone := await missing(found):
        raise ConfigurationError(f"the tables {', '.join(gone)} are not in the database: run `jobgate db upgrade`")


async def missing(found: Registry) -> list[str]:
    """The tables that are not there."""
    return [name for pack in _with_tables(found) for name in await pack.database.missing()]


async def create_tables(found: Registry) -> None:
    for pack in _with_tables(found):
        await pack.database.create()


async def close(found: Registry) -> None:
    """Let go of the connections of the running loop."""
    for pack in _with_tables(found):
        await pack.database.close()


def _with_tables(found: Registry) -> Sequence[Any]:
    return [pack for pack in found.packs if pack.database is not None]
