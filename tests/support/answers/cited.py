"""You.com's Answer API: POST /v1/answer."""

from __future__ import annotations

from typing import Any

from tests.support.answers.wire import Call, Refusal, identity

PATHS = ("/v1/answer",)


def key(call: Call) -> str:
    return call.headers.get("x-api-key", "")


def refuse(refusal: Refusal) -> dict[str, Any]:
    if refusal.status == 422:
        return {"error": "invalid request parameter(s)"}
    return {"detail": "Invalid or expired API key" if refusal.status == 401 else refusal.message}


def reply(call: Call) -> dict[str, Any]:
    query = call.body.get("query")
    if not isinstance(query, str) or not 0 < len(query) <= 400:
        raise Refusal(422, "query has 1 to 400 characters")
    if call.body.get("include_domains") and call.body.get("exclude_domains"):
        raise Refusal(422, "include_domains and exclude_domains do not go together")
    answer = call.answer(query)
    return {
        "answer": answer.text,
        "citations": [{"source": page.url, "excerpts": [page.text]} for page in answer.pages],
        "results": {
            "web": [
                {"url": page.url, "title": page.title, "description": page.text, "snippets": [page.text]}
                for page in answer.pages
            ]
        },
        "metadata": {"query": query, "search_uuid": identity("search-"), "latency": 0.01},
    }
