"""OpenAI's Responses: POST /v1/responses, streamed too. Errors and keys are those of its chat."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tests.support.answers.chat import key, refuse
from tests.support.answers.corpus import Answer
from tests.support.answers.wire import Call, Refusal, event, identity, know, pieces, text_of, tokens

__all__ = ["PATHS", "key", "refuse", "reply"]

PATHS = ("/v1/responses",)
_FIELDS = (
    "model input instructions tools tool_choice stream stream_options temperature top_p max_output_tokens include user "
    "max_tool_calls metadata parallel_tool_calls previous_response_id reasoning store text truncation background "
    "service_tier safety_identifier prompt_cache_key conversation"
)


def reply(call: Call) -> dict[str, Any] | Iterator[bytes]:
    body = call.body
    know(body, _FIELDS, "Unknown parameter: '{}'.")
    if not body.get("model") or not body.get("input"):
        raise Refusal(400, "Missing required parameter: 'model' or 'input'.", "missing_required_parameter")
    question = body["input"] if isinstance(body["input"], str) else text_of(body["input"][-1]["content"])
    answer = call.answer(question, call.searches("web_search"))
    response = _response(body, question, answer)
    return _stream(response) if body.get("stream") else response


def _response(body: dict[str, Any], question: str, answer: Answer) -> dict[str, Any]:
    read, written = tokens(question), tokens(answer.text)
    usage = {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }
    return {
        "id": identity("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "model": body["model"],
        "output": _output(question, answer),
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "usage": usage,
    }


def _output(question: str, answer: Answer) -> list[dict[str, Any]]:
    notes = [
        {"type": "url_citation", "start_index": start, "end_index": end, "url": page.url, "title": page.title}
        for start, end, page in answer.passages
    ]
    content = [{"type": "output_text", "text": answer.text, "annotations": notes, "logprobs": []}]
    message = {
        "type": "message", "id": identity("msg_"), "role": "assistant", "status": "completed", "content": content,
    }  # fmt: skip
    search = {
        "type": "web_search_call", "id": identity("ws_"), "status": "completed",
        "action": {"type": "search", "query": question},
    }  # fmt: skip
    return [*([search] if notes else []), message]


def _stream(response: dict[str, Any]) -> Iterator[bytes]:
    started = {**response, "status": "in_progress", "output": [], "usage": None}
    steps = [("response.created", {"response": started})]
    for index, item in enumerate(response["output"]):
        begun = {**item, "status": "in_progress"} | ({"content": []} if "content" in item else {})
        steps.append(("response.output_item.added", {"output_index": index, "item": begun}))
        steps += _say(item, {"item_id": item["id"], "output_index": index, "content_index": 0})
        steps.append(("response.output_item.done", {"output_index": index, "item": item}))
    steps.append(("response.completed", {"response": response}))
    for number, (kind, data) in enumerate(steps):
        yield event({"type": kind, "sequence_number": number, **data}, kind)


def _say(item: dict[str, Any], place: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The text of a message piece by piece, then whole with its citations; nothing for other items."""
    for part in item.get("content", ()):
        yield "response.content_part.added", {**place, "part": {**part, "text": "", "annotations": []}}
        for piece in pieces(part["text"]):
            yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
        for number, note in enumerate(part["annotations"]):
            yield (
                "response.output_text.annotation.added",
                {**place, "annotation_index": number, "annotation": note},
            )
        yield "response.content_part.done", {**place, "part": part}
