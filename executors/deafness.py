"""What a worker does about being deaf: it connects anew, and if that does not help it ends and begins again."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import struct
import time
from collections.abc import Callable

log = logging.getLogger("jobgate.worker")

#: Seconds that a new connection has to bring something before the worker ends, and between two new connections.
HOPE = 10.0
PAUSE = 5.0

#: The shared moments, on the clock of `time.monotonic`, which all processes of a host share; 0 for never.
_SINCE, _CONNECTED, _ENDED = range(3)


class Remedy:
    """Made before any fork, in the process that has the connection to the broker; shared by its children, which read in
    the registry that they are deaf. `drain` prepares an end and a new begin; an end of `grace` seconds is cut short."""

    def __init__(self, drain: Callable[[], None], grace: float) -> None:
        self._main = os.getpid()
        self._drain = drain
        self._grace = grace
        self._word = mmap.mmap(-1, 24)

    @property
    def ended(self) -> bool:
        """Whether the worker ends for this reason."""
        return self._get(_ENDED) > 0

    def take_in(self, deaf: bool) -> None:
        """What the registry says, again and again, in any process of the worker."""
        since, now = self._get(_SINCE), time.monotonic()
        if self.ended:  # whatever the registry says now: a parent that hangs does not end by the signal alone
            self._end(now)
        elif not deaf:
            self._set(_SINCE, 0.0)
        elif not since:
            log.error("this worker lives, but hears nothing: it connects to the broker anew")
            self._set(_SINCE, now)
        elif now - since >= HOPE:
            self._end(now)

    def connect_anew(self) -> None:
        """In the loop that holds the connection: break it, if nothing comes through."""
        if self._get(_SINCE) > self._get(_CONNECTED) and time.monotonic() - self._get(_CONNECTED) >= PAUSE:
            self._set(_CONNECTED, time.monotonic())
            raise ConnectionResetError("nothing comes through this connection")

    def _end(self, now: float) -> None:
        if not self.ended:
            log.error("this worker still hears nothing: it ends, to begin again")
            self._set(_ENDED, now)
            self._drain()
            os.kill(self._main, signal.SIGTERM)
        elif now - self._get(_ENDED) >= self._grace:
            os.kill(self._main, signal.SIGKILL)

    def _get(self, place: int) -> float:
        moment: float = struct.unpack_from("d", self._word, place * 8)[0]
        return moment

    def _set(self, place: int, moment: float) -> None:
        struct.pack_into("d", self._word, place * 8, moment)
