"""Anthropic's Messages: POST /v1/messages with the web search tool of the server."""

from __future__ import annotations

from typing import Any

from tests.support.answers.corpus import Answer
from tests.support.answers.wire import Call, Refusal, identity, know, text_of, tokens

PATHS = ("/v1/messages",)
_FIELDS = (
    "model messages max_tokens system tools tool_choice temperature top_p top_k stop_sequences stream metadata "
    "thinking service_tier container context_management mcp_servers cache_control inference_geo output_config"
)
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def key(call: Call) -> str:
    return call.headers.get("x-api-key") or call.headers.get("authorization", "").removeprefix("Bearer ")


def refuse(refusal: Refusal) -> dict[str, Any]:
    error = {"type": _KINDS.get(refusal.status, "api_error"), "message": refusal.message}
    return {"type": "error", "error": error, "request_id": identity("req_")}


def reply(call: Call) -> dict[str, Any]:
    body = call.body
    if "anthropic-version" not in call.headers:
        raise Refusal(400, "anthropic-version: header is required")
    know(body, _FIELDS, "{}: Extra inputs are not permitted")
    for name in ("model", "messages", "max_tokens"):
        if not body.get(name):
            raise Refusal(400, f"{name}: Field required")
    question = text_of(body["messages"][-1]["content"])
    searched = call.searches("web_search_")
    answer = call.answer(question, searched)
    used = {"server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0}} if searched else {}
    return {
        "id": identity("msg_"),
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [*(_search(question, answer) if searched else ()), *_texts(answer)],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": tokens(question), "output_tokens": tokens(answer.text), **used},
    }


def _search(question: str, answer: Answer) -> list[dict[str, Any]]:
    call = identity("srvtoolu_")
    results = [
        {"type": "web_search_result", "url": page.url, "title": page.title, "encrypted_content": "c2VhbGVk",
         "page_age": "November 2, 2026"}
        for page in answer.pages
    ]  # fmt: skip
    return [
        {"type": "server_tool_use", "id": call, "name": "web_search", "input": {"query": question}},
        {"type": "web_search_tool_result", "tool_use_id": call, "content": results},
    ]


def _texts(answer: Answer) -> list[dict[str, Any]]:
    """A block for each passage, with its citation; a space between them is a block without one."""
    if not answer.passages:
        return [{"type": "text", "text": answer.text}] if answer.text else []
    blocks: list[dict[str, Any]] = []
    for start, end, page in answer.passages:
        if start:
            blocks.append({"type": "text", "text": " "})
        citation = {
            "type": "web_search_result_location", "url": page.url, "title": page.title, "encrypted_index": "c2VhbGVk",
            "cited_text": page.text[:150],
        }  # fmt: skip
        blocks.append({"type": "text", "text": answer.text[start:end], "citations": [citation]})
    return blocks
