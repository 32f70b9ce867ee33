"""What all vendors' protocols share: a question with its switches, a reply, a refusal."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.answers.corpus import Answer, compose, search

_numbers = itertools.count(1)


def identity(prefix: str) -> str:
    return f"{prefix}{next(_numbers):024d}"


def tokens(text: str) -> int:
    """As a stand-in for a tokenizer: one for every four characters begun."""
    return -(-len(text) // 4)


@dataclass(frozen=True)
class Switch:
    """How a vendor behaves; a reply that is all right by default."""

    status: int | None = None  # an HTTP error
    retry_after: int | None = None  # seconds, with a 429 or 503
    delay: float = 0.0  # seconds before the answer
    cut: bool = False  # the connection ends in the middle of the body
    empty: bool = False  # an answer without text and sources
    failed: bool = False  # HTTP 200 that says the run failed (Perplexity)
    tool: Mapping[str, Any] | None = None  # the model calls {"name", "arguments"} (OpenAI chat)


@dataclass(frozen=True)
class Call:
    """One request, as the protocols look at it and as tests do afterwards."""

    vendor: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    base: str = ""  # the address of the vendor's API here
    switch: Switch = field(default_factory=Switch)

    def answer(self, question: str, searched: bool = True) -> Answer:
        """From the pages found; without sources if the request did not ask for a search."""
        if self.switch.empty:
            return Answer("", ())
        found = compose(search(question))
        return found if searched else Answer(found.text, ())

    def searches(self, *kinds: str) -> bool:
        """Whether one of its tools has a type that begins so."""
        return any(str(tool.get("type", "")).startswith(kinds) for tool in self.body.get("tools") or ())


class Refusal(Exception):
    """An error; the vendor's own module gives it its shape. `kind` is a word for OpenAI's code."""

    def __init__(self, status: int, message: str, kind: str = "invalid", param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param = status, message, kind, param


def know(body: Mapping[str, Any], fields: str, message: str) -> None:
    """Refuse the first field that is not among these, named in one string; `message` has a place for its name."""
    for name in body:
        if name not in fields.split():
            raise Refusal(400, message.format(name), "unknown_parameter", name)


def event(data: Any, name: str | None = None) -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return ((f"event: {name}\n" if name else "") + f"data: {text}\n\n").encode()


def pieces(text: str) -> Iterable[str]:
    """A text as a model would stream it: word by word, nothing lost."""
    for n, word in enumerate(text.split(" ")):
        yield word if n == 0 else f" {word}"


def text_of(content: Any) -> str:
    """Of a message's content: a string, or parts with a `text`."""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or ())
