"""The seam to a database: run a few statements in one transaction, and hand out an engine for reading."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from operator import not_
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from msgspec import Struct

from tasks.errors import ConfigurationError, JobgateError, SchemaMismatch, StoreUnavailable
from tasks.masking import shown_url

if TYPE_CHECKING:  # the command line reads settings, which import this module: SQLAlchemy takes 0.2 s to import
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

Rows = list[tuple[Any, ...]]


class Query(Struct, frozen=True):
    """One statement: a text of `statements`, its parameters, and for `{rows: …}` the rows: none, no statement."""

    sql: str
    params: Mapping[str, Any] = {}
    rows: Sequence[Sequence[Any]] | None = None


class Then(Struct, frozen=True):
    """A statement that depends on the answer to the one before it: `make` returns it, or None for no statement."""

    make: Callable[[Rows], Query | None]


#: What a transaction is made of.
Item = Query | Then


def resolved(item: Item, answers: Sequence[Rows]) -> Query | None:
    """The statement that an item of a program stands for, after those that were answered."""
    return item if isinstance(item, Query) else item.make(answers[-1])


#: The mark of a table made of given rows, and the parameters of a statement.
ROWS = re.compile(r"\{rows: ([^}]*)\}")
PARAM = re.compile(r"(?<![:\w]):([a-z_]\w*)")


def columns(mark: str) -> list[tuple[str, str]]:
    """Name and type of each column in the text between the braces of `{rows: …}`."""
    return [(name, kind) for name, _, kind in (part.partition(" ") for part in mark.split(", "))]


def parted(rows: Sequence[Sequence[Any]]) -> tuple[tuple[bool, ...], list[Any], list[tuple[Any, ...]]]:
    """Which columns have one value in all rows, those values, and the other columns, of which there is one at least.

    Handing a value to a database costs about as much as storing it, and most columns of a batch are NULL or the same.
    """
    by_column = list(zip(*rows, strict=True))
    shared = [column.count(column[0]) == len(rows) for column in by_column]
    shared[0] = shared[0] and not all(shared)
    same = [column[0] for column in compress(by_column, shared)]
    return tuple(shared), same, list(compress(by_column, map(not_, shared)))


class Refused(JobgateError):
    """The database refused a statement for what it says, not for want of service; the transaction left no trace."""


#: SQLite's words for them; its error code is that of any wrong statement.
_NO_SUCH = re.compile(r"no such (table|column)|table \w+ has no column")
#: SQLSTATEs of a table, column or function that is not there, and of one that may not be used.
_MISMATCHES = ("42703", "42P01", "42883", "42501")


def lost(error: BaseException, what: str) -> StoreUnavailable:
    """What a driver's error means: `what` could not be done now, or the tables are not those of this release."""
    words = str(error)
    if getattr(error, "sqlstate", None) in _MISMATCHES or _NO_SUCH.match(words):
        return SchemaMismatch(f"its tables are not those of this release: {words}")
    return StoreUnavailable(f"{what}: {type(error).__name__}: {words}" if words else f"{what}: {type(error).__name__}")


class Backend(Protocol):
    """A database. `transact` raises Refused or StoreUnavailable; in both cases nothing of the program is confirmed."""

    engine: AsyncEngine

    async def start(self) -> None: ...
    async def transact(self, program: Sequence[Item]) -> list[Rows]:
        """Run all statements in one transaction; the rows that each returned."""

    async def fetch(self, query: Query) -> Rows:
        """A small read, by key or by index: what it returned. Raises StoreUnavailable."""

    def transact_outside(self, program: Sequence[Item]) -> list[Rows]:
        """The same for a thread outside the loop, which has nothing better to do than to wait."""

    async def stop(self) -> None: ...


_MODULES = {"sqlite": "tasks.store.sqlite", "postgresql": "tasks.store.postgres"}


def parse_url(text: str) -> URL:
    """The URL of a supported database, or ConfigurationError."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - see the top of the module
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - likewise

    try:
        url = make_url(text)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in _MODULES:
        raise ConfigurationError(
            "DATABASE_URL takes sqlite:///path/to/file.db or postgresql://user:password@host/name; "
            f"got {shown_url(text) if '://' in text else 'no URL'}"
        )
    return url


def absent_file(url: URL) -> Path | None:
    """The absolute path of the SQLite file that `url` names, if there is no such file; None for other databases."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    path = Path(str(url.database)).absolute()
    return None if path.is_file() else path


def make_folder(url: URL) -> None:
    """Makes the folder of an SQLite file whose path is relative, as the default `var/jobgate.db` is.

    The folder of an absolute path must exist, or ConfigurationError: a mistyped path is refused, and nothing is written
    where a volume is not mounted.
    """
    folder = Path(str(url.database)).parent
    if folder.is_absolute() and not folder.is_dir():
        raise ConfigurationError(f"DATABASE_URL: there is no folder {folder}: make it, or correct the path")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"DATABASE_URL: {folder} cannot be made: {error.strerror}") from error


def load_backend(url: URL) -> ModuleType:
    """The module for `url`, loaded by name, so that nobody needs the driver of the other database."""
    try:
        return importlib.import_module(_MODULES[url.get_backend_name()])
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"DATABASE_URL needs the package {error.name!r}: install jobgate[postgres]") from error


def make_backend(url: URL, **options: Any) -> Backend:
    """The backend for `url`."""
    return cast(Backend, load_backend(url).make(url, **options))
