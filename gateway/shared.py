"""An answer that many callers get from one look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from gateway.problems import Refusal

T = TypeVar("T")


class Shared(Generic[T]):
    """Looks anew when the last look began more than `age` seconds ago; whoever asks meanwhile gets the same."""

    def __init__(self, look: Callable[[], Awaitable[T]], age: float) -> None:
        self._look = look
        self._age = age
        self._task: asyncio.Task[T | Refusal] | None = None
        self._began_at = 0.0

    async def get(self) -> T:
        """What was seen; raises the Refusal that it ended with."""
        if self._task is None or (self._task.done() and time.monotonic() - self._began_at >= self._age):
            self._began_at = time.monotonic()
            self._task = asyncio.create_task(self._seen(), name="jobgate-shared-look")
        # Shielded: a caller who leaves must not take the answer from the others.
        found = await asyncio.shield(self._task)
        if isinstance(found, Refusal):
            raise found.with_traceback(None)
        return found

    async def _seen(self) -> T | Refusal:
        try:
            return await self._look()
        except Refusal as refusal:
            return refusal
