"""When a failed job runs again; pure."""

from __future__ import annotations

import random
from collections.abc import Callable

from msgspec import Struct


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """Exponential back-off: `backoff`, twice that, four times … seconds, at most `backoff_max`.

    `jitter` is the share of the delay that is added at random (0.1: up to a tenth more), so that jobs which failed
    together do not come back together.
    """

    max_retries: int = 3
    backoff: float = 60.0
    backoff_max: float = 3600.0
    jitter: float = 0.1

    def delay(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """Seconds to wait after the `failures`-th failure (1 is the first)."""
        # The exponent is bounded before the power is taken: 2.0 ** 1100 overflows a float.
        full = min(self.backoff * 2.0 ** min(failures - 1, 64), self.backoff_max)
        return full * (1.0 + self.jitter * chance())
