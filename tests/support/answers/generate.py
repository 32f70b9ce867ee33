"""Gemini: POST /v1beta/models/{model}:generateContent (/v1 too, as its SDK has it), grounded by Google Search.

As there, a source's address is a redirect and its title the domain; a wrong key is a 400; and how long to wait after
a 429 stands in the body.
"""

from __future__ import annotations

from typing import Any

from tests.support.answers.corpus import PAGES, Answer
from tests.support.answers.wire import Call, Refusal, identity, know, text_of, tokens

PATHS = ("/v1beta/models/{model}:generateContent", "/v1/models/{model}:generateContent")
_FIELDS = (
    "contents systemInstruction system_instruction tools toolConfig tool_config generationConfig generation_config "
    "safetySettings safety_settings cachedContent labels store serviceTier"
)
_STATUS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
REDIRECT = "/grounding-api-redirect/"


def key(call: Call) -> str:
    return call.headers.get("x-goog-api-key") or call.query.get("key", "")


def refuse(refusal: Refusal, retry_after: int | None = None) -> dict[str, Any]:
    status, message, details = refusal.status, refusal.message, []
    if status == 401:
        status, message = 400, "API key not valid. Please pass a valid API key."
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"})
    if retry_after is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{retry_after}s"})
    error = {"code": status, "message": message, "status": _STATUS.get(status, "INTERNAL"), "details": details}
    return {"error": error}


def reply(call: Call) -> dict[str, Any]:
    body = call.body
    know(body, _FIELDS, 'Invalid JSON payload received. Unknown name "{}": Cannot find field.')
    if not body.get("contents"):
        raise Refusal(400, "* GenerateContentRequest.contents: contents is not specified")
    question = text_of(body["contents"][-1].get("parts"))
    searched = any({"googleSearch", "google_search"} & set(tool) for tool in body.get("tools") or ())
    answer = call.answer(question, searched)
    candidate: dict[str, Any] = {"index": 0, "finishReason": "STOP"}
    candidate["content"] = {"role": "model", "parts": [{"text": answer.text}] if answer.text else []}
    if answer.passages:
        candidate["groundingMetadata"] = _grounding(question, answer, call.base)
    read, written = tokens(question), tokens(answer.text)
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": read, "candidatesTokenCount": written, "totalTokenCount": read + written,
        },
        "modelVersion": call.path.rpartition("/")[2].partition(":")[0],
        "responseId": identity(""),
    }  # fmt: skip


def _grounding(question: str, answer: Answer, base: str) -> dict[str, Any]:
    return {
        "webSearchQueries": [question],
        "groundingChunks": [
            {"web": {"uri": f"{base}{REDIRECT}{PAGES.index(page)}", "title": page.domain}} for page in answer.pages
        ],
        "groundingSupports": [
            {
                # Counted in bytes, as the vendor does.
                "segment": {
                    "startIndex": len(answer.text[: passage.start].encode()),
                    "endIndex": len(answer.text[: passage.end].encode()),
                    "text": answer.text[passage.start : passage.end],
                },
                "groundingChunkIndices": [number],
            }
            for number, passage in enumerate(answer.passages)
        ],
    }
