"""An event loop on a thread of its own: for async bodies, and for the record where the main thread is busy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class LoopThread:
    """Starts at construction."""

    def __init__(self, name: str) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int:
        """The thread's number in this process."""
        return self._thread.ident or 0

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` there; the caller does not wait."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run `work` there and wait for it."""
        return self.submit(work).result(timeout)

    def stop(self, patience: float = 5.0) -> None:
        """End the thread; wait for that for `patience` seconds."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(patience)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
