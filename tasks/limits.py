"""Rate limits in Celery's notation; pure."""

from __future__ import annotations

import re

from tasks.errors import ConfigurationError

_RATE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(?:/\s*([smhd]))?\s*$")
_PERIOD = {"s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}


def key_name(task: str, key: str) -> str:
    """The name of the limit of a concurrency key: each task has keys of its own."""
    return f"key:{task}:{key}"


def key_of(limit_name: str, task: str) -> str | None:
    """The other way round; None for a limit of another kind."""
    prefix = key_name(task, "")
    return limit_name.removeprefix(prefix) if limit_name.startswith(prefix) else None


def interval(rate: str | float | None) -> float | None:
    """Milliseconds between two starts for a rate such as "10/m" (a bare number is per second); None: no limit.

    Raises ConfigurationError for anything else.
    """
    if rate is None:
        return None
    match = _RATE.match(str(rate))
    if match is None or float(match[1]) <= 0:
        raise ConfigurationError(f'rate_limit {rate!r} is not a rate: write a positive number and a unit, as in "10/m"')
    return _PERIOD[match[2] or "s"] / float(match[1])
