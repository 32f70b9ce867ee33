"""Perplexity's Agent API and OpenAI's Responses: one shape, in which a message's notes cite pages."""

from __future__ import annotations

from msgspec import Struct

from tasks.packs.citations.platforms.platform import Access, Answer, Platform, PlatformFailed, Request, Source, bearer


class Page(Struct):
    """A note on a text, or a search result."""

    type: str | None = None
    url: str | None = None
    title: str | None = None


class Part(Struct):
    text: str | None = None
    annotations: list[Page] | None = None


class Item(Struct):
    type: str = ""
    content: list[Part] | None = None
    results: list[Page] | None = None


class Cost(Struct):
    total_cost: float | None = None


class Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Cost | None = None


class Fault(Struct):
    message: str | None = None


class Reply(Struct):
    status: str = "completed"
    output: list[Item] | None = None
    usage: Usage | None = None
    error: Fault | None = None


def _ask_perplexity(question: str, access: Access) -> Request:
    choice = {"type": "web_search"}
    body = {"model": access.model, "input": question, "tools": [choice], "tool_choice": choice, "stream": False}
    return Request("/v1/agent", body, bearer(access))


def _ask_openai(question: str, access: Access) -> Request:
    body = {"model": access.model, "input": question, "tools": [{"type": "web_search"}], "tool_choice": "required"}
    return Request("/v1/responses", body, bearer(access))


def read(reply: Reply) -> Answer:
    # A run that failed can come with HTTP 200.
    if reply.status in ("failed", "cancelled"):
        words = reply.error.message if reply.error else None
        raise PlatformFailed(f"the run {reply.status}: {words or 'no reason was given'}")
    items = reply.output or []
    parts = [part for item in items if item.type == "message" for part in item.content or []]
    cited = [note for part in parts for note in part.annotations or [] if note.type in (None, "url_citation")]
    searched = [page for item in items if item.type == "search_results" for page in item.results or []]
    usage = reply.usage or Usage()
    return Answer(
        text="".join(part.text or "" for part in parts),
        sources=[Source(page.url, page.title or "") for page in cited or searched if page.url],
        tokens_read=usage.input_tokens,
        tokens_written=usage.output_tokens,
        searches=sum(item.type in ("web_search_call", "search_results") for item in items),
        cost=usage.cost.total_cost if usage.cost else None,
    )


PERPLEXITY = Platform(name="perplexity", request=_ask_perplexity, reply=Reply, read=read)
OPENAI = Platform(name="openai", request=_ask_openai, reply=Reply, read=read)
