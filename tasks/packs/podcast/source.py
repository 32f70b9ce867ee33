"""Sources: the texts that episodes are made of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tasks.admission import new_id
from tasks.errors import InvalidArguments, NotFound, StateConflict
from tasks.packs.podcast.tables import DATABASE, SOURCES

#: Characters.
MAX_TEXT = 500_000

SourceId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_:.-]{1,64}$(?!\n)")]
Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT, pattern=r"^[^\x00]+$(?!\n)")]


class NewSource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An `id` of one's own is kept: sources of another system may come with theirs."""

    title: Title
    text: Text
    id: SourceId | None = None


class Source(Struct, frozen=True, kw_only=True):
    id: str
    title: str
    text: str
    created_at: int


class Summary(Struct, frozen=True, kw_only=True):
    """A source without its text; `characters` of it."""

    id: str
    title: str
    characters: int
    created_at: int


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


async def add(new: NewSource) -> Source:
    """Raises StateConflict where the id is taken."""
    source = Source(id=new.id or new_id(), title=new.title, text=new.text, created_at=now())
    try:
        async with DATABASE.writing() as tables:
            row = {"id": source.id, "title": source.title, "text": source.text, "created_at": source.created_at}
            await tables.execute(insert(SOURCES).values(**row))
    except IntegrityError as error:
        raise StateConflict(f"the source {source.id!r} is there already: change it with PUT") from error
    return source


async def change(source_id: str, new: NewSource) -> Source:
    """Raises NotFound."""
    if new.id not in (None, source_id):
        raise InvalidArguments(f"the address says {source_id!r}: a source keeps its id", "/id")
    async with DATABASE.writing() as tables:
        changed = update(SOURCES).where(SOURCES.c.id == source_id).values(title=new.title, text=new.text)
        row = (await tables.execute(changed.returning(SOURCES))).mappings().first()
    if row is None:
        raise _unknown(source_id)
    return Source(**row)


async def read(source_id: str) -> Source:
    """Raises NotFound."""
    found = await read_all([source_id])
    if not found:
        raise _unknown(source_id)
    return found[0]


async def read_all(source_ids: Sequence[str]) -> list[Source]:
    """Those that there are, in the order of the ids."""
    async with DATABASE.reading() as tables:
        rows = (await tables.execute(select(SOURCES).where(SOURCES.c.id.in_(source_ids)))).mappings()
        found = {row["id"]: Source(**row) for row in rows}
    return [found[source_id] for source_id in source_ids if source_id in found]


async def beginnings(source_ids: Sequence[str], characters: int) -> dict[str, str]:
    """By their ids, at most so many characters of the text of each that there is."""
    beginning = func.substr(SOURCES.c.text, 1, characters).label("beginning")
    wanted = select(SOURCES.c.id, beginning).where(SOURCES.c.id.in_(source_ids))
    async with DATABASE.reading() as tables:
        return {row.id: row.beginning for row in await tables.execute(wanted)}


async def listing(limit: int, before: str | None) -> list[Summary]:
    """By id, the highest first; ids that were given out rise with the time."""
    size = func.length(SOURCES.c.text).label("characters")
    wanted = select(SOURCES.c.id, SOURCES.c.title, size, SOURCES.c.created_at)
    if before is not None:
        wanted = wanted.where(SOURCES.c.id < before)
    async with DATABASE.reading() as tables:
        found = await tables.execute(wanted.order_by(SOURCES.c.id.desc()).limit(limit))
        return [Summary(**row) for row in found.mappings()]


async def remove(source_id: str) -> None:
    """Raises NotFound; StateConflict while a run was made of it."""
    try:
        async with DATABASE.writing() as tables:
            if not (await tables.execute(delete(SOURCES).where(SOURCES.c.id == source_id))).rowcount:
                raise _unknown(source_id)
    except IntegrityError as error:
        raise StateConflict(f"runs were made of the source {source_id!r}: delete those first") from error


def _unknown(source_id: str) -> NotFound:
    return NotFound(f"there is no source {source_id!r}")
