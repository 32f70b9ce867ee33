"""What is known about the documents themselves."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import select

from tasks.packs.knowledge.tables import CHUNKS, DATABASE, DOCUMENTS


class Entry(Struct, frozen=True, kw_only=True):
    """A document; times are milliseconds since the epoch, `sha256` is that of its text."""

    document_id: str
    knowledge_base: str
    title: str | None
    path: str | None
    characters: int
    chunks: int
    sha256: str
    model: str
    dimension: int
    created_at: int
    updated_at: int


class Known(Struct, frozen=True):
    """A document as an update looks at it."""

    id: int
    document_id: str
    path: str | None
    sha256: str
    model: str
    revision: str


async def entries(knowledge_base: str | None, document_id: str | None, after: str, limit: int) -> list[Entry]:
    """Documents in the order of their ids, those behind `after`."""
    wanted = select(*DOCUMENTS.c[*Entry.__struct_fields__]).where(DOCUMENTS.c.document_id > after)
    if knowledge_base is not None:
        wanted = wanted.where(DOCUMENTS.c.knowledge_base == knowledge_base)
    if document_id is not None:
        wanted = wanted.where(DOCUMENTS.c.document_id == document_id)
    async with DATABASE.reading() as tables:
        rows = await tables.execute(wanted.order_by(DOCUMENTS.c.document_id).limit(limit))
        return [Entry(**row) for row in rows.mappings()]


async def known(knowledge_base: str, document_ids: Sequence[str] | None) -> list[Known]:
    """All documents of a knowledge base, or those of them that are named."""
    wanted = select(*DOCUMENTS.c[*Known.__struct_fields__]).where(DOCUMENTS.c.knowledge_base == knowledge_base)
    if document_ids is not None:
        wanted = wanted.where(DOCUMENTS.c.document_id.in_(document_ids))
    async with DATABASE.reading() as tables:
        rows = await tables.execute(wanted.order_by(DOCUMENTS.c.document_id))
        return [Known(**row) for row in rows.mappings()]


async def text_of(document: int) -> str:
    """A document's text, put together from its passages; "" if it is gone."""
    parts = select(CHUNKS.c.text).where(CHUNKS.c.document == document).order_by(CHUNKS.c.position)
    async with DATABASE.reading() as tables:
        return "".join((await tables.execute(parts)).scalars())
