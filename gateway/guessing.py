"""Requests without a valid key: counted, told of once a minute, and answered 429 when one address sends many."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from gateway.problems import Refusal

log = logging.getLogger("jobgate.gateway")

#: Seconds of one count, and how many failures an address has in it before it is answered 429.
WINDOW = 60.0
FREE_FAILURES = 10
#: Addresses that are remembered; the one that failed longest ago is forgotten first.
ADDRESSES = 10_000

_CLOSE = (b"connection", b"close")


class Guessing:
    """What failed to come in. A valid key is never refused here: behind a proxy all callers have one address.

    See docs/decisions/0037-wrong-keys.md.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By address: when its count began, and the failures since.
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        #: Since the start, by kind: "missing", "wrong" and "throttled". The kinds are those of a metric's label.
        self.refused: Counter[str] = Counter(missing=0, wrong=0, throttled=0)
        self._told_at = -math.inf
        self._untold = 0

    def failed(self, address: str, refusal: Refusal, missing: bool) -> Refusal:
        """The refusal of a request from `address` whose key is missing or wrong: `refusal`, or one of too many."""
        now = self._clock()
        began, number = self._failures.pop(address, (now, 0))
        if now - began >= WINDOW:
            began, number = now, 0
        self._failures[address] = (began, number + 1)
        if len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)
        throttled = number >= FREE_FAILURES
        self.refused["throttled" if throttled else "missing" if missing else "wrong"] += 1
        self._tell(now, address)
        if not throttled:
            return refusal
        left = str(math.ceil(began + WINDOW - now)).encode()
        words = (
            f"{FREE_FAILURES} requests a minute without a valid key are answered for one address; come back with a key"
        )
        return Refusal("too-many-failures", words, [], [(b"retry-after", left), _CLOSE])

    def _tell(self, now: float, address: str) -> None:
        self._untold += 1
        if now - self._told_at >= WINDOW:
            words = "gateway: %d requests without a valid key since the last such line, the latest from %s"
            log.warning(words, self._untold, address)
            self._told_at, self._untold = now, 0
