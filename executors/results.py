"""What a task returned, as the JSON text that its row keeps."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tasks import models

#: The least that JSON needs for a value of one of these types; of any other nothing is known before it is encoded.
_LEAST = {str: 2, bytes: 2, list: 2, tuple: 2, dict: 2, float: 3, bool: 4, type(None): 4}
#: What stands between two values, and between a name and its value, as `json` writes them.
_BETWEEN = 2


class TooLarge(Exception):
    """The text would have more bytes than the limit: `size`, or None where it was not even encoded."""

    def __init__(self, size: int | None) -> None:
        super().__init__(size)
        self.size = size


def encode(result: Any, limit: int) -> str:
    """The text, of at most `limit` bytes, or TooLarge. TypeError, ValueError or RecursionError for what is no JSON.

    The encoder holds the interpreter until it is done, and nothing else in the process moves meanwhile, not even the
    leases. So what is certainly too large is found by looking at it, in steps that let others in between.
    """
    if result is None:
        return "null"
    if _least(result, limit, []) > limit:
        raise TooLarge(None)
    text = json.dumps(result, allow_nan=False, default=_json_value)
    if len(text) > limit:
        raise TooLarge(len(text))
    return text


def _json_value(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=models.encode)


def _least(value: Any, limit: int, within: list[int]) -> int:
    """How many bytes it has at least; not more exactly than that it is over the limit. `within`: what it is part of."""
    size = _LEAST.get(type(value), 1)
    if isinstance(value, str | bytes):
        return size + len(value)
    if not isinstance(value, list | tuple | dict) or id(value) in within or len(within) > 100:
        return size  # whatever is part of itself, or very deep, is for the encoder to refuse
    size += max(0, len(value) - 1) * _BETWEEN
    within.append(id(value))
    for part in _parts(value):
        if size > limit:
            break
        size += _least(part, limit - size, within)
    within.pop()
    return size


def _parts(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return (part for pair in value.items() for part in pair)
