"""What callers may hold at once: streams of events, and requests that wait for the end of a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Places:
    """At most `total` places in all, and `each` for the callers of one API key; without keys there is no such share."""

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        return self._held.total()

    def take(self, caller: str) -> Callable[[], None] | None:
        """What gives the place back; None if all are taken, or the caller's share. To be called before any await."""
        if self.held >= self._total or (caller and self._held[caller] >= self._each):
            return None
        self._held[caller] += 1

        def give_back() -> None:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

        return give_back
