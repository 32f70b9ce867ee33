"""Documents go in and out: each with its passages and their vectors, in one transaction, or not at all."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from anyio import to_thread
from msgspec import Meta, Struct
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks import Context, FatalError
from tasks.clients import embeddings
from tasks.errors import printable
from tasks.packs.knowledge.passages import passages
from tasks.packs.knowledge.tables import CHUNKS, DATABASE, DOCUMENTS, WRITES

# Together, at four bytes a character, they fit into the 2,704 bytes that an index of PostgreSQL takes.
MAX_ID = 600
DocumentId = Annotated[str, Meta(min_length=1, max_length=MAX_ID, description="your name for the document")]
BaseName = Annotated[str, Meta(min_length=1, max_length=60, description="the knowledge base that it belongs to")]
Title = Annotated[str, Meta(max_length=300)]

#: The knowledge base of documents that name none.
DEFAULT_BASE = "default"
#: Milliseconds after which another attempt of a job is not to be expected.
_REMEMBERED = 30 * 86_400_000

_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Document(Struct, frozen=True, kw_only=True):
    """What is to be found: its text, and the file under the files root that the text is from, if it is from one."""

    document_id: str
    text: str
    knowledge_base: str = DEFAULT_BASE
    title: str | None = None
    path: str | None = None


class Indexed(Struct, frozen=True, kw_only=True):
    """A document that can be found now: its characters, and the passages (`chunks`) that it is in."""

    document_id: str
    knowledge_base: str
    characters: int
    chunks: int
    model: str = embeddings.MODEL
    dimension: int = embeddings.DIMENSION


class Passages(Struct, frozen=True):
    """The passages of a text, and a vector for each."""

    texts: list[str]
    vectors: list[bytes]


class Removed(Struct, frozen=True, kw_only=True):
    """The documents that were deleted, those that were not there, and how many passages went with them."""

    deleted: list[str]
    not_found: list[str]
    chunks: int


async def put(context: Context, document: Document) -> Indexed:
    """Make a document findable, in place of what was there under its id. Raises FatalError if it has no text.

    Another attempt of a job that has put it in writes nothing: what came after it, a deletion too, stays as it is.
    Nor is anything made anew where the same text is there already.
    """
    chunks = await _chunks(context, document)
    if chunks is None:
        cut = await to_thread.run_sync(embed, context, document.text)
        chunks = len(cut.texts)
        async with DATABASE.writing() as tables:
            context.check()
            if await _first(tables, context, chunks):
                await fill(tables, await _upsert(tables, document, chunks), cut)
    return Indexed(
        document_id=document.document_id,
        knowledge_base=document.knowledge_base,
        characters=len(document.text),
        chunks=chunks,
    )


async def remove(document_ids: Sequence[str]) -> Removed:
    """Delete documents, with everything that was kept of them."""
    wanted = list(dict.fromkeys(document_ids))
    mine = select(DOCUMENTS.c.id, DOCUMENTS.c.document_id).where(DOCUMENTS.c.document_id.in_(wanted))
    async with DATABASE.writing() as tables:
        # The documents before their passages, as `put` does: else the two could wait for each other.
        rows = (await tables.execute(mine.order_by(DOCUMENTS.c.id).with_for_update())).all()
        ids, there = [row.id for row in rows], {row.document_id for row in rows}
        chunks = await tables.execute(delete(CHUNKS).where(CHUNKS.c.document.in_(ids)))
        await tables.execute(delete(DOCUMENTS).where(DOCUMENTS.c.id.in_(ids)))
    return Removed(
        deleted=[name for name in wanted if name in there],
        not_found=[name for name in wanted if name not in there],
        chunks=chunks.rowcount,
    )


def embed(context: Context, text: str) -> Passages:
    """Cut a text and encode it. Keeps a core busy: call it in a thread. Raises FatalError if there is nothing in it."""
    texts = passages(printable(text, len(text)))
    if not texts:
        raise FatalError("there is no text in it")

    def watch(done: int) -> None:
        context.progress(done, len(texts), "making vectors")

    vectors = embeddings.encode([text.strip() for text in texts], watch)
    context.progress(len(texts), len(texts), "writing them")
    return Passages(texts, embeddings.to_blobs(vectors))


async def fill(tables: AsyncConnection, document: int, cut: Passages) -> None:
    """Give a document these passages and no others."""
    await tables.execute(delete(CHUNKS).where(CHUNKS.c.document == document))
    rows = [
        {"document": document, "position": position, "text": text, "vector": vector}
        for position, (text, vector) in enumerate(zip(cut.texts, cut.vectors, strict=True))
    ]
    await tables.execute(CHUNKS.insert(), rows)


async def refill(context: Context, document: int, revision: str, text: str, cut: Passages) -> bool:
    """Give a document another text, unless it was changed or deleted since it was read; whether it was done."""
    seen = (DOCUMENTS.c.id == document) & (DOCUMENTS.c.revision == revision)
    async with DATABASE.writing() as tables:
        context.check()
        done = await tables.execute(update(DOCUMENTS).where(seen).values({**_content(text), **_change(len(cut.texts))}))
        if done.rowcount:
            await fill(tables, document, cut)
    return bool(done.rowcount)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


async def _chunks(context: Context, document: Document) -> int | None:
    """How many passages the document is in, if an attempt of this job has put it in or the very same is there."""
    mine = select(WRITES.c.chunks).where(WRITES.c.job_id == context.idempotency_key)
    facts = {**_description(document), **_content(document.text)}
    same = select(DOCUMENTS.c.chunks).where(
        DOCUMENTS.c.document_id == document.document_id, *(DOCUMENTS.c[name] == fact for name, fact in facts.items())
    )
    async with DATABASE.reading() as tables:
        written: int | None = (await tables.execute(mine)).scalar_one_or_none()
        return written if written is not None else (await tables.execute(same)).scalar_one_or_none()


async def _first(tables: AsyncConnection, context: Context, chunks: int) -> bool:
    """Whether no other attempt of this job has written; from now on this one has."""
    now = _now()
    await tables.execute(delete(WRITES).where(WRITES.c.written_at < now - _REMEMBERED))
    row = {"job_id": context.idempotency_key, "chunks": chunks, "written_at": now}
    write = _insert(tables, WRITES).values(row).on_conflict_do_nothing().returning(WRITES.c.job_id)
    return (await tables.execute(write)).first() is not None


async def _upsert(tables: AsyncConnection, document: Document, chunks: int) -> int:
    values = {**_description(document), **_content(document.text), **_change(chunks)}
    new = _insert(tables, DOCUMENTS).values(document_id=document.document_id, created_at=_now(), **values)
    written = new.on_conflict_do_update(index_elements=["document_id"], set_=values).returning(DOCUMENTS.c.id)
    return int((await tables.execute(written)).scalar_one())


def _description(document: Document) -> dict[str, Any]:
    title = printable(document.title, 300) if document.title else None
    return {"knowledge_base": document.knowledge_base, "title": title, "path": document.path}


def _content(text: str) -> dict[str, Any]:
    return {
        "sha256": digest(text),
        "characters": len(text),
        "model": embeddings.MODEL,
        "dimension": embeddings.DIMENSION,
    }


def _change(chunks: int) -> dict[str, Any]:
    return {"chunks": chunks, "revision": str(uuid.uuid4()), "updated_at": _now()}


def _insert(tables: AsyncConnection, table: Any) -> Any:
    return _INSERTS[tables.dialect.name](table)


def _now() -> int:
    return time.time_ns() // 1_000_000
