"""Gemini, grounded by Google Search: its sources' addresses are redirects, and their titles domains."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from msgspec import Struct, field

from tasks.packs.citations.platforms.platform import Access, Answer, Platform, PlatformFailed, Request, Source


class Web(Struct):
    uri: str | None = None
    title: str | None = None


class Chunk(Struct):
    web: Web | None = None


class Grounding(Struct, rename="camel"):
    grounding_chunks: list[Chunk] | None = None
    web_search_queries: list[str] | None = None


class Part(Struct):
    text: str | None = None
    thought: bool | None = None


class Content(Struct):
    parts: list[Part] | None = None


class Candidate(Struct, rename="camel"):
    content: Content | None = None
    grounding_metadata: Grounding | None = None


class Usage(Struct, rename="camel"):
    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class Reply(Struct, rename="camel"):
    candidates: list[Candidate] | None = None
    usage_metadata: Usage | None = None
    prompt_feedback: Feedback | None = None


class Detail(Struct, rename="camel"):
    retry_delay: str = ""


class Fault(Struct):
    details: list[Detail] | None = None


class Refused(Struct):
    error: Fault = field(default_factory=Fault)


def _ask(question: str, access: Access) -> Request:
    body = {"contents": [{"role": "user", "parts": [{"text": question}]}], "tools": [{"googleSearch": {}}]}
    path = f"/v1beta/models/{quote(access.model, safe='')}:generateContent"
    return Request(path, body, {"x-goog-api-key": access.key})


def read(reply: Reply) -> Answer:
    if not reply.candidates:
        reason = reply.prompt_feedback.block_reason if reply.prompt_feedback else None
        raise PlatformFailed(f"it gave no answer: {reason or 'no reason was given'}", lasting=reason is not None)
    first, usage = reply.candidates[0], reply.usage_metadata or Usage()
    grounding = first.grounding_metadata or Grounding()
    pages = [chunk.web for chunk in grounding.grounding_chunks or [] if chunk.web]
    parts = (first.content.parts if first.content else None) or []
    written, thought = usage.candidates_token_count, usage.thoughts_token_count
    return Answer(
        text="".join(part.text or "" for part in parts if not part.thought),
        sources=[Source(page.uri, page.title or "") for page in pages if page.uri],
        tokens_read=usage.prompt_token_count,
        tokens_written=None if written is None else written + (thought or 0),
        searches=len(grounding.web_search_queries or []),
    )


def wait(body: bytes) -> float | None:
    """The seconds of `error.details[].retryDelay` ("7s")."""
    try:
        details = msgspec.json.decode(body, type=Refused).error.details or []
        return next((float(detail.retry_delay.rstrip("s")) for detail in details if detail.retry_delay), None)
    except (msgspec.DecodeError, ValueError):
        return None


GEMINI = Platform(name="gemini", request=_ask, reply=Reply, read=read, wait=wait, redirect="/grounding-api-redirect/")
