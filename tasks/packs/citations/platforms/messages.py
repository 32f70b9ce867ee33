"""Anthropic's Messages with its web search tool: texts with citations, and blocks of search results."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from tasks.packs.citations.platforms.platform import Access, Answer, Platform, PlatformFailed, Request, Source, bearer

_VERSION = "2026-10-21"
_MAX_TOKENS = 2048
_TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


class Page(Struct):
    url: str | None = None
    title: str | None = None


class Block(Struct):
    """`content` of search results is a list of pages, or one error."""

    type: str = ""
    text: str | None = None
    citations: list[Page] | None = None
    content: Any = None


class Searches(Struct):
    web_search_requests: int = 0


class Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    server_tool_use: Searches | None = None


class Reply(Struct):
    content: list[Block] | None = None
    usage: Usage | None = None
    stop_reason: str | None = None


def _ask(question: str, access: Access) -> Request:
    said = [{"role": "user", "content": question}]
    body = {"model": access.model, "max_tokens": _MAX_TOKENS, "messages": said, "tools": [_TOOL]}
    return Request("/v1/messages", body, {**bearer(access), "anthropic-version": _VERSION})


def read(reply: Reply) -> Answer:
    blocks = reply.content or []
    texts = [block for block in blocks if block.type == "text"]
    cited = [note for block in texts for note in block.citations or []]
    found = [block.content for block in blocks if block.type == "web_search_tool_result"]
    if reply.stop_reason == "pause_turn":
        raise PlatformFailed("the answer was interrupted before its end (pause_turn)")
    if not cited:
        _refuse_errors(found)
    usage = reply.usage or Usage()
    return Answer(
        text="".join(block.text or "" for block in texts),
        sources=[Source(page.url, page.title or "") for page in cited or _pages(found) if page.url],
        tokens_read=usage.input_tokens,
        tokens_written=usage.output_tokens,
        searches=usage.server_tool_use.web_search_requests if usage.server_tool_use else 0,
    )


def _refuse_errors(found: list[Any]) -> None:
    for content in found:
        if isinstance(content, dict):
            raise PlatformFailed(f"its web search failed: {content.get('error_code') or 'no reason was given'}")


def _pages(found: list[Any]) -> list[Page]:
    return [page for content in found for page in msgspec.convert(content or [], list[Page])]


ANTHROPIC = Platform(name="anthropic", request=_ask, reply=Reply, read=read)
