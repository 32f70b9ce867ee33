"""The end of a process that runs bodies: what hangs, or what bodies left behind, must not hold it up."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger("jobgate.leaving")

#: Seconds beyond the drain timeout in which a process ends by itself; supervisors are told to kill after 15.
GRACE = 13.0
#: Seconds for threads that bodies left behind, once everything of ours has been written and closed.
LEFTOVERS = 3.0

_OURS = ("MainThread", "jobgate-")


def flush_output() -> None:
    """Write what the logs and the standard streams still hold."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it
            stream.flush()


class Leaving:
    """Ends the process by a deadline. The interpreter alone would wait for every thread of a body's own thread pool.

    `code` is the exit code then; 1 until the process knows better. `closed`: all that is ours was written and closed.
    `last` is called before the forced end.
    """

    def __init__(self, last: Callable[[], None] = lambda: None) -> None:
        self.code = 1
        self.closed = False
        self._last = last
        self._deadline = math.inf
        self._watcher: threading.Thread | None = None

    def within(self, seconds: float) -> None:
        """End in so many seconds at the latest; of several deadlines the earliest holds."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="jobgate-leaving", daemon=True)
            self._watcher.start()

    def _watch(self) -> None:
        while (left := self._deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        if self.closed:
            others = (thread.name for thread in threading.enumerate() if not thread.name.startswith(_OURS))
            log.warning("the process ends without waiting for threads that tasks left behind: %s", ", ".join(others))
        else:
            log.error("the process could not be shut down in time and ends now; leases bring its jobs back")
        flush_output()
        self._last()
        os._exit(self.code)
