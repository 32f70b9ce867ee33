"""OpenAI's chat completions: POST /v1/chat/completions, streamed too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.support.answers.corpus import Answer
from tests.support.answers.wire import Call, Refusal, event, identity, know, pieces, text_of, tokens

PATHS = ("/v1/chat/completions",)
_FIELDS = (
    "model messages stream stream_options temperature top_p max_tokens max_completion_tokens n stop tools tool_choice "
    "parallel_tool_calls web_search_options response_format user seed metadata store presence_penalty logprobs "
    "frequency_penalty reasoning_effort service_tier safety_identifier prompt_cache_key top_logprobs verbosity"
)


def key(call: Call) -> str:
    return call.headers.get("authorization", "").removeprefix("Bearer ")


def refuse(refusal: Refusal) -> dict[str, Any]:
    kind, code = {
        401: ("invalid_request_error", "invalid_api_key"),
        429: ("requests", "rate_limit_exceeded"),
    }.get(refusal.status, ("server_error", None) if refusal.status >= 500 else ("invalid_request_error", refusal.kind))
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": code}}


def reply(call: Call) -> dict[str, Any] | Iterator[bytes]:
    body = call.body
    know(body, _FIELDS, "Unrecognized request argument supplied: {}")
    if not body.get("model") or not body.get("messages"):
        raise Refusal(400, "you must provide a model and messages", "missing_required_parameter")
    head = {"id": identity("chatcmpl-"), "created": int(time.time()), "model": body["model"]}
    message, finish = _message(call)
    usage = _usage(body["messages"], message)
    if body.get("stream"):
        wanted = (body.get("stream_options") or {}).get("include_usage")
        return _stream({**head, "object": "chat.completion.chunk"}, message, finish, usage if wanted else None)
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": usage}


def _message(call: Call) -> tuple[dict[str, Any], str]:
    """What the model says, and why it stopped. After a tool's result it says that result."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    last = call.body["messages"][-1]
    if call.switch.tool and last["role"] != "tool":
        function = {"name": call.switch.tool["name"], "arguments": json.dumps(call.switch.tool["arguments"])}
        called = {"id": identity("call_"), "type": "function", "function": function}
        return {**message, "tool_calls": [called]}, "tool_calls"
    if last["role"] == "tool":
        return {**message, "content": f"The tool says: {text_of(last['content'])}"}, "stop"
    answer = call.answer(text_of(last["content"]), _searches(call))
    return {**message, "content": answer.text, "annotations": _annotations(answer)}, "stop"


def _searches(call: Call) -> bool:
    return "web_search_options" in call.body or "search" in call.body["model"]


def _annotations(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "type": "url_citation",
            "url_citation": {"start_index": start, "end_index": end, "url": page.url, "title": page.title},
        }
        for start, end, page in answer.passages
    ]


def _usage(messages: list[dict[str, Any]], message: dict[str, Any]) -> dict[str, Any]:
    read = sum(tokens(text_of(each.get("content"))) for each in messages)
    written = tokens(message["content"] or json.dumps(message.get("tool_calls")))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _stream(head: dict[str, Any], message: dict[str, Any], finish: str, usage: Any) -> Iterator[bytes]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        return event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    yield chunk({"role": "assistant", "content": ""})
    for number, called in enumerate(message.get("tool_calls", ())):
        yield chunk({"tool_calls": [{"index": number, **called}]})
    for piece in pieces(message["content"] or ""):
        yield chunk({"content": piece})
    if message.get("annotations"):
        yield chunk({"annotations": message["annotations"]})
    yield chunk({}, finish)
    if usage is not None:
        yield event({**head, "choices": [], "usage": usage})
    yield event("[DONE]")
