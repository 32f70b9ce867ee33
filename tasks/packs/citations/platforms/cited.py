"""You.com's Answer API: an answer, and the pages that it cites."""

from __future__ import annotations

from msgspec import Struct

from tasks.packs.citations.platforms.platform import Access, Answer, Platform, PlatformFailed, Request, Source

MAX_QUESTION = 400


class Page(Struct):
    url: str | None = None
    title: str | None = None


class Citation(Struct):
    source: str | None = None


class Results(Struct):
    web: list[Page] | None = None


class Reply(Struct):
    answer: str | None = None
    citations: list[Citation] | None = None
    results: Results | None = None


def _ask(question: str, access: Access) -> Request:
    if len(question) > MAX_QUESTION:
        words = f"it takes questions of at most {MAX_QUESTION} characters; this one has {len(question)}"
        raise PlatformFailed(words, lasting=True)
    return Request("/v1/answer", {"query": question}, {"x-api-key": access.key})


def read(reply: Reply) -> Answer:
    pages = (reply.results.web if reply.results else None) or []
    titles = {page.url: page.title or "" for page in pages}
    cited = [citation.source for citation in reply.citations or [] if citation.source]
    places = cited or [page.url for page in pages if page.url]
    return Answer(text=reply.answer or "", sources=[Source(place, titles.get(place, "")) for place in places])


YOU = Platform(name="you", request=_ask, reply=Reply, read=read)
