"""What each process of a worker's pool runs, in memory that the processes share with the worker's parent."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
from typing import NamedTuple

import msgspec

from tasks.job import Attempt

#: Processes of a pool that have an entry; those beyond it have none.
PROCESSES = 1024
#: Bytes of an entry. Only memory that was written to is used.
_SIZE = 4096
#: The process, when its loop last showed progress, when the attempt began (both of `time.monotonic`), bytes of JSON.
_HEAD = struct.Struct("qddq")
_LENGTH = struct.Struct("q")
_LENGTH_AT = _HEAD.size - _LENGTH.size


class Entry(NamedTuple):
    """What the process `pid` runs. The attempt's arguments are left out."""

    pid: int
    progress_at: float
    started_at: float
    attempt: Attempt


class AttemptTable:
    """One entry a process of the pool, by its index there. Only that process writes it. Made before any fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, PROCESSES * _SIZE)

    def begin(self, index: int, attempt: Attempt) -> None:
        """Shows an attempt that starts now, in the calling process."""
        text = msgspec.json.encode(msgspec.structs.replace(attempt, arguments="[[],{}]"))
        if index >= PROCESSES or len(text) > _SIZE - _HEAD.size:
            return
        start, now = index * _SIZE, time.monotonic()
        self.clear(index)
        self._memory[start + _HEAD.size : start + _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, start, os.getpid(), now, now, 0)
        _LENGTH.pack_into(self._memory, start + _LENGTH_AT, len(text))  # last: a reader takes nothing before

    def show_progress(self, index: int) -> None:
        """To be called by the loop of the process again and again."""
        if index < PROCESSES:
            struct.pack_into("d", self._memory, index * _SIZE + 8, time.monotonic())

    def clear(self, index: int) -> None:
        """The process runs nothing."""
        if index < PROCESSES:
            _LENGTH.pack_into(self._memory, index * _SIZE + _LENGTH_AT, 0)

    def read(self, index: int) -> Entry | None:
        """What the process of this index runs; None if nothing, or if it is just writing its entry."""
        if index >= PROCESSES:
            return None
        start = index * _SIZE
        pid, progress_at, started_at, length = _HEAD.unpack_from(self._memory, start)
        if not length:
            return None
        with contextlib.suppress(msgspec.MsgspecError):
            text = self._memory[start + _HEAD.size : start + _HEAD.size + length]
            return Entry(pid, progress_at, started_at, msgspec.json.decode(text, type=Attempt))
        return None
