"""Over HTTP: ask the knowledge, and see what is in it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.address import address
from tasks.clients import embeddings
from tasks.packs.knowledge import catalogue
from tasks.packs.knowledge.catalogue import Entry
from tasks.packs.knowledge.index import BaseName, DocumentId
from tasks.packs.knowledge.ranking import Hit, search


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`q` in any language that the model knows; `knowledge_base` is where to look, everywhere if it is left out."""

    q: Annotated[str, Meta(min_length=1, max_length=2000)]
    limit: Annotated[int, Meta(ge=1, le=50)] = 5
    knowledge_base: BaseName | None = None


class Found(Struct, frozen=True, kw_only=True):
    """The passages that fit best, best first."""

    query: str
    model: str
    results: list[Hit]


class Which(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after` is the last document id of the page before."""

    knowledge_base: BaseName | None = None
    document_id: DocumentId | None = None
    after: Annotated[str, Meta(max_length=1024)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Documents(Struct, frozen=True, kw_only=True):
    """Documents in the order of their ids."""

    documents: list[Entry]


@address("GET", "/api/knowledge/search")
async def search_knowledge(query: Question) -> Found:
    """Search the documents: passages with their scores."""
    results = await search(query.q, query.limit, query.knowledge_base)
    return Found(query=query.q, model=embeddings.MODEL, results=results)


@address("GET", "/api/knowledge/documents")
async def list_documents(query: Which) -> Documents:
    """List the documents."""
    return Documents(
        documents=await catalogue.entries(query.knowledge_base, query.document_id, query.after, query.limit)
    )
