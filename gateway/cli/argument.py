"""Arguments of tasks as they are typed: JSON where it is JSON, else text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def by_place_and_name(given: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Values by place, and values by name (`name=value`)."""
    places: list[Any] = []
    names: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            names[name] = value_of(value)
        else:
            places.append(value_of(text))
    return places, names


def value_of(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda word: word)
    except ValueError:
        return text
