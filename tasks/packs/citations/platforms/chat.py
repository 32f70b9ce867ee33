"""Any endpoint that speaks OpenAI's chat completions, with whatever way it has of naming sources."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from tasks.packs.citations.platforms.platform import Access, Answer, Platform, PlatformFailed, Request, Source, bearer

#: Up to what ends an address in a text or in a Markdown link.
_ADDRESS = re.compile(r"https?://[^\s<>\"'\])}]+")


class Page(Struct):
    url: str | None = None
    title: str | None = None


class Note(Struct):
    url_citation: Page | None = None


class Message(Struct):
    content: str | None = None
    annotations: list[Note] | None = None


class Choice(Struct):
    message: Message | None = None


class Cost(Struct):
    total_cost: float | None = None


class Usage(Struct):
    """`cost` is a number or an object with the total."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: Cost | float | None = None


class Reply(Struct):
    """`citations` are addresses or pages."""

    choices: list[Choice] | None = None
    citations: list[Any] | None = None
    search_results: list[Page] | None = None
    usage: Usage | None = None


def _ask(question: str, access: Access) -> Request:
    body = {"model": access.model, "messages": [{"role": "user", "content": question}]}
    return Request("/chat/completions", body, bearer(access))


def read(reply: Reply) -> Answer:
    if not reply.choices:
        raise PlatformFailed("it gave no answer: `choices` is empty")
    message = reply.choices[0].message or Message()
    text = message.content or ""
    noted = [note.url_citation for note in message.annotations or [] if note.url_citation]
    pages = noted or _listed(reply.citations or []) or reply.search_results or _written(text)
    usage = reply.usage or Usage()
    return Answer(
        text=text,
        sources=[Source(page.url, page.title or "") for page in pages if page.url],
        tokens_read=usage.prompt_tokens,
        tokens_written=usage.completion_tokens,
        cost=usage.cost.total_cost if isinstance(usage.cost, Cost) else usage.cost,
    )


def _listed(citations: list[Any]) -> list[Page]:
    return [Page(url=each) if isinstance(each, str) else msgspec.convert(each, Page) for each in citations]


def _written(text: str) -> list[Page]:
    """A model that marks nothing may still write addresses down."""
    return [Page(url=found.rstrip(".,;:!?*_`")) for found in _ADDRESS.findall(text)]


COMPATIBLE = Platform(name="compatible", request=_ask, reply=Reply, read=read, key_needed=False)
