"""The passages that answer a question best, by the cosine of their vectors alone.

A process keeps the vectors it has searched, and reads again only those of documents that have changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from msgspec import Struct
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.clients import embeddings
from tasks.errors import InvalidArguments, NotConfigured
from tasks.packs.knowledge.tables import CHUNKS, DATABASE, DOCUMENTS

if TYPE_CHECKING:
    from tasks.clients.embeddings import Vectors

#: Documents whose vectors are asked for in one statement.
_AT_ONCE = 500


class Hit(Struct, frozen=True, kw_only=True):
    """A passage; `score` is the cosine of its vector and the question's, `position` its place in the document."""

    document_id: str
    knowledge_base: str
    title: str | None
    path: str | None
    score: float
    position: int
    passage: str


class _Held(Struct, frozen=True):
    """The vectors of one document as of a revision, a row for each passage."""

    revision: str
    vectors: Any


class _Cache:
    """The process's vectors, by the documents' numbers; replaced as a whole, never changed."""

    held: Mapping[int, _Held] = {}


async def search(query: str, limit: int = 5, knowledge_base: str | None = None) -> list[Hit]:
    """The passages most like `query`, best first, of one knowledge base or of all.

    Raises NotConfigured where the model is not installed, InvalidArguments for a blank query.
    """
    if lack := embeddings.lacking():
        raise NotConfigured(lack)
    if not query.strip():
        raise InvalidArguments("there is nothing to search for: q is blank", "/q")
    vector = (await to_thread.run_sync(embeddings.encode, [query.strip()]))[0]
    async with DATABASE.reading() as tables:
        held = await _held(tables, knowledge_base)
        best = await to_thread.run_sync(_rank, held, vector, limit)
        return await _hits(tables, best)


class _Place(Struct, frozen=True):
    """One passage among all, and how well it fits."""

    document: int
    revision: str
    position: int
    score: float


def _rank(held: Mapping[int, _Held], query: Vectors, limit: int) -> list[_Place]:
    if not held:
        return []
    import numpy  # noqa: PLC0415 - heavy; the embeddings have loaded it by now

    documents, parts = list(held), [one.vectors for one in held.values()]
    starts = numpy.cumsum([0, *map(len, parts)])
    rows = embeddings.nearest(parts, query, limit)
    places = []
    for row, score in rows:
        nth = int(numpy.searchsorted(starts, row, side="right")) - 1
        document = documents[nth]
        places.append(_Place(document, held[document].revision, row - int(starts[nth]), score))
    return places


async def _held(tables: AsyncConnection, knowledge_base: str | None) -> dict[int, _Held]:
    """The vectors of today's model, in the order of the documents."""
    there = select(*DOCUMENTS.c["id", "revision", "knowledge_base"]).order_by(DOCUMENTS.c.id)
    there = there.where(DOCUMENTS.c.model == embeddings.MODEL)
    rows = (await tables.execute(there)).all()
    known = {row.id: old for row in rows if (old := _Cache.held.get(row.id)) and old.revision == row.revision}
    known |= await _read(tables, {row.id: row.revision for row in rows if row.id not in known})
    _Cache.held = known
    return {row.id: known[row.id] for row in rows if row.id in known and knowledge_base in (None, row.knowledge_base)}


async def _read(tables: AsyncConnection, wanted: Mapping[int, str]) -> dict[int, _Held]:
    found: dict[int, _Held] = {}
    for some in _parts(list(wanted)):
        chunks = select(*CHUNKS.c["document", "vector"]).where(CHUNKS.c.document.in_(some))
        blobs: dict[int, list[bytes]] = {}
        for row in await tables.execute(chunks.order_by(CHUNKS.c.document, CHUNKS.c.position)):
            blobs.setdefault(row.document, []).append(row.vector)
        found |= {document: _Held(wanted[document], embeddings.from_blobs(kept)) for document, kept in blobs.items()}
    return found


def _parts(documents: Sequence[int]) -> Iterable[Sequence[int]]:
    return (documents[start : start + _AT_ONCE] for start in range(0, len(documents), _AT_ONCE))


async def _hits(tables: AsyncConnection, best: Sequence[_Place]) -> list[Hit]:
    """The passages as they stand in the tables; one that has just gone or changed is not among them."""
    place = tuple_(CHUNKS.c.document, CHUNKS.c.position)
    wanted = (
        select(*DOCUMENTS.c["id", "revision", "document_id", "knowledge_base", "title", "path"])
        .add_columns(CHUNKS.c.position, CHUNKS.c.text)
        .join_from(CHUNKS, DOCUMENTS)
        .where(place.in_([(found.document, found.position) for found in best]))
    )
    rows = {(row.id, row.revision, row.position): row for row in await tables.execute(wanted)} if best else {}
    found = ((rows.get((place.document, place.revision, place.position)), place.score) for place in best)
    return [_hit(row, score) for row, score in found if row is not None]


def _hit(row: Any, score: float) -> Hit:
    return Hit(
        document_id=row.document_id,
        knowledge_base=row.knowledge_base,
        title=row.title,
        path=row.path,
        score=round(score, 4),
        position=row.position,
        passage=row.text.strip(),
    )
