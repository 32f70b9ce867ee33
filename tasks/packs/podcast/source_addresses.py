"""The addresses of sources."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.address import address
from tasks.moment import moment
from tasks.packs.podcast import source
from tasks.packs.podcast.source import NewSource, Source, SourceId


class SourceQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before`: the id where the last page ended."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: SourceId | None = None


class SourceView(Struct, frozen=True, kw_only=True):
    id: str
    title: str
    text: str
    created_at: str


class SourceSummary(Struct, frozen=True, kw_only=True):
    """`characters` of its text."""

    id: str
    title: str
    characters: int
    created_at: str


@address("GET", "/api/podcast/sources")
async def list_sources(query: SourceQuery) -> list[SourceSummary]:
    """List sources without their texts, newest first."""
    found = await source.listing(query.limit, query.before)
    return [
        SourceSummary(id=each.id, title=each.title, characters=each.characters, created_at=moment(each.created_at))
        for each in found
    ]


@address("POST", "/api/podcast/sources", status=201)
async def add_source(body: NewSource) -> SourceView:
    """Add a source."""
    return _view(await source.add(body))


@address("GET", "/api/podcast/sources/{source_id}")
async def read_source(source_id: SourceId) -> SourceView:
    """Read a source."""
    return _view(await source.read(source_id))


@address("PUT", "/api/podcast/sources/{source_id}")
async def change_source(source_id: SourceId, body: NewSource) -> SourceView:
    """Change a source's title and text."""
    return _view(await source.change(source_id, body))


@address("DELETE", "/api/podcast/sources/{source_id}")
async def remove_source(source_id: SourceId) -> None:
    """Delete a source that no run was made of."""
    await source.remove(source_id)


def _view(found: Source) -> SourceView:
    return SourceView(id=found.id, title=found.title, text=found.text, created_at=moment(found.created_at))
