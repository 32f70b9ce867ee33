"""Moments as people and JSON have them; inside they are milliseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def moment(milliseconds: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


def moment_or_none(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else moment(milliseconds)
