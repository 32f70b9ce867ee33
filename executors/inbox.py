"""Work for a crew of threads, woken one by another.

A queue that wakes a thread for every item makes them all fight for the interpreter's lock over a few short jobs.
Here one is woken; whoever takes an item while more are left wakes the next one. Short items are worked off by the one
thread that is awake, and a body that blocks leaves the others free to come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """First in, first out; any thread may put and get."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def __bool__(self) -> bool:
        """Whether something waits to be taken."""
        return bool(self._items)

    def put(self, items: Iterable[T]) -> None:
        self._items.extend(items)
        self._wake()

    def get(self) -> T:
        """The next item; waits for one."""
        while True:
            try:
                item = self._items.popleft()
            except IndexError:
                self._wakes.get()
                continue
            if self._items:
                self._wake()
            return item

    def _wake(self) -> None:
        # Whoever takes the wake-up that is under way looks at the items after it: a second one would be for nothing.
        if self._wakes.empty():
            self._wakes.put(None)
