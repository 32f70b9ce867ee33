"""One line of the audit trail."""

from __future__ import annotations

from msgspec import Struct


class Entry(Struct, frozen=True, kw_only=True):
    """What an operator did: `who` is his key's name or "loopback", `target` the address, `status` the answer's.

    `at` is milliseconds since the epoch on the store's clock.
    """

    seq: int
    at: int
    who: str
    action: str
    target: str
    status: int
    outcome: str
