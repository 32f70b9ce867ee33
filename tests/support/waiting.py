"""Waiting for conditions, never for luck."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

#: Seconds between two looks.
PAUSE = 0.02


def eventually(look: Callable[[], T], within: float = 15.0, what: str = "") -> T:
    """The first truthy value of `look`; an AssertionError with the last one after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or look}; last seen: {found!r}"
        time.sleep(PAUSE)


async def eventually_async(look: Callable[[], Awaitable[object]], within: float = 15.0) -> None:
    """Return once `look` answers something true; an AssertionError after `within` seconds."""
    deadline = time.monotonic() + within
    while not await look():
        assert time.monotonic() < deadline, f"not within {within:g} s: {look}"
        await anyio.sleep(PAUSE)
