"""A warning that many requests, jobs or polls cause at once, logged once a second with a count."""

from __future__ import annotations

import asyncio
import logging
import time

#: Seconds from one line to the next.
INTERVAL = 1.0


class RepeatedWarning:
    """Logs the first warning at once; those of the next second become one line, with their number and the last text.

    For one process and, as a rule, one event loop. Outside a loop the number comes with the next warning.
    """

    def __init__(self, log: logging.Logger, text: str) -> None:
        """`text` is a logging format."""
        self._log = log
        self._text = text
        self._last: tuple[object, ...] = ()
        self._number = 0
        self._logged_at = float("-inf")
        self._due = False

    def warn(self, *arguments: object) -> None:
        """Logs the warning with these arguments of its format, now or with others within a second."""
        self._last = arguments
        self._number += 1
        loop = _running_loop()
        wait = self._logged_at + INTERVAL - _now(loop)
        if wait <= 0:
            self._flush()
        elif loop is not None and not self._due:
            loop.call_later(wait, self._flush)
            self._due = True

    def _flush(self) -> None:
        number, self._number, self._due = self._number, 0, False
        if number == 1:
            self._log.warning(self._text, *self._last)
        elif number:
            self._log.warning(f"{self._text} (%d times within a second)", *self._last, number)
        if number:
            self._logged_at = _now(_running_loop())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _now(loop: asyncio.AbstractEventLoop | None) -> float:
    """The loop's clock, which a simulation may replace; it and the system's count from the same start otherwise."""
    return time.monotonic() if loop is None else loop.time()
