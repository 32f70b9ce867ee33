"""Wall clocks and moments: where a time of day lies in a zone whose clocks are put forward and back; pure.

Moments are milliseconds since the epoch, walls are datetimes without a zone.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from msgspec import Struct


class Place(Struct, frozen=True):
    """Where a wall time lies. `first` and `second` differ where the clock shows it twice. `gap`: it is never shown, and
    both are the moment at which the clock jumps over it."""

    first: int
    second: int
    gap: bool = False


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones())


def zone(name: str) -> ZoneInfo:
    """The zone of that IANA name, or ValueError with the nearest ones."""
    if name not in _names():
        tail = name.rpartition("/")[2].lower()
        near = difflib.get_close_matches(name, _names(), n=3) or sorted(n for n in _names() if tail in n.lower())[:3]
        hint = f"; did you mean {' or '.join(near)}?" if near and tail else ""
        raise ValueError(f"{name[:100]!r} is not an IANA time zone such as Europe/Berlin or UTC{hint}")
    return ZoneInfo(name)


def wall(moment: int, where: ZoneInfo) -> datetime:
    """What the clock shows, to the second."""
    return datetime.fromtimestamp(moment // 1000, where).replace(tzinfo=None)


def place(shown: datetime, where: ZoneInfo) -> Place:
    """The moment or moments at which the clock shows this."""
    first, second = (int(shown.replace(tzinfo=where, fold=fold).astimezone(UTC).timestamp()) * 1000 for fold in (0, 1))
    if first <= second:
        return Place(first, second)
    # In a gap the first reading takes the offset before the jump and lands behind it, the second the other way round.
    jump = change(second, first, where)
    return Place(jump, jump, gap=True)


def offset(moment: int, where: ZoneInfo) -> int:
    """Milliseconds that the clock is ahead of UTC."""
    delta = datetime.fromtimestamp(moment // 1000, where).utcoffset()
    return 0 if delta is None else round(delta.total_seconds() * 1000)


def change(low: int, high: int, where: ZoneInfo) -> int:
    """The first moment after `low` with another offset than `low`'s, given that `high` has one; to the second."""
    before = offset(low, where)
    while high - low > 1000:
        middle = (low + high) // 2000 * 1000
        if offset(middle, where) == before:
            low = middle
        else:
            high = middle
    return high
