"""Perplexity's Agent API: POST /v1/agent, which its SDK calls by the name of /v1/responses."""

from __future__ import annotations

import time
from typing import Any

from tests.support.answers.corpus import Answer
from tests.support.answers.wire import Call, Refusal, identity, know, text_of, tokens

PATHS = ("/v1/agent", "/v1/responses")
_FIELDS = (
    "model models preset input instructions tools tool_choice stream max_output_tokens max_steps language_preference "
    "reasoning response_format store background previous_response_id skills effort profile prompt_cache_key "
    "service_tier step_budget_reminder temperature top_p"
)


def key(call: Call) -> str:
    return call.headers.get("authorization", "").removeprefix("Bearer ")


def refuse(refusal: Refusal) -> dict[str, Any]:
    kinds = {400: "invalid_request", 401: "invalid_api_key", 429: "rate_limit_exceeded"}
    kind = kinds.get(refusal.status, "internal_server_error")
    return {"error": {"message": refusal.message, "type": kind, "code": refusal.status}}


def reply(call: Call) -> dict[str, Any]:
    body = call.body
    know(body, _FIELDS, "unknown field: {}")
    if not body.get("input"):
        raise Refusal(400, "input is required")
    if not (body.get("model") or body.get("models") or body.get("preset")):
        raise Refusal(400, "model, models or preset is required")
    question = body["input"] if isinstance(body["input"], str) else text_of(body["input"][-1]["content"])
    response = {"id": identity("resp_"), "object": "response", "created_at": int(time.time()), "model": body["model"]}
    if call.switch.failed:
        error = {"message": "The run failed: no search backend answered.", "code": "run_failed", "type": "server_error"}
        return {**response, "status": "failed", "output": [], "error": error}
    answer = call.answer(question, call.searches("web_search"))
    return {**response, "status": "completed", "output": _output(question, answer), "usage": _usage(question, answer)}


def _output(question: str, answer: Answer) -> list[dict[str, Any]]:
    results = [
        {"id": n, "url": page.url, "title": page.title, "snippet": page.text, "date": "2026-10-01",
         "last_updated": "2026-11-02", "source": "web"}
        for n, page in enumerate(answer.pages, 1)
    ]  # fmt: skip
    content = [{"type": "output_text", "text": answer.text, "annotations": []}]
    message = {
        "type": "message", "id": identity("msg_"), "role": "assistant", "status": "completed", "content": content,
    }  # fmt: skip
    return [*([{"type": "search_results", "queries": [question], "results": results}] if results else []), message]


def _usage(question: str, answer: Answer) -> dict[str, Any]:
    read, written = tokens(question), tokens(answer.text)
    parts = {
        "input_cost": read * 1e-6,
        "output_cost": written * 1e-6,
        "tool_calls_cost": 0.005 if answer.pages else 0.0,
    }
    return {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens": read + written,
        "cost": {"currency": "USD", **parts, "total_cost": sum(parts.values())},
    }
