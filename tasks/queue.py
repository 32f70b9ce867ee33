"""A queue as operators see it."""

from __future__ import annotations

from msgspec import Struct


class Pause(Struct, frozen=True, kw_only=True):
    """A queue that is not served: nothing of it is claimed or rung for, what runs goes on.

    Times are milliseconds since the epoch; `until` None: until it is resumed.
    """

    queue: str
    since: int
    until: int | None
    reason: str | None
