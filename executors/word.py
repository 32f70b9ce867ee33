"""What a worker's parent and its children tell each other, in memory that they share; made before any fork."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from executors.attempt_table import AttemptTable
from executors.cancel_pipe import CancelPipe
from tasks.command import Command, Outcome
from tasks.errors import ConfigurationError
from tasks.job import Attempt

#: When to give back what runs (a double, of `time.monotonic`: all processes of a machine share it, and nobody sets it
#: back), how many children were lost, whether to start anew (integers). The queues follow, as JSON.
_FIELDS = {"drain_at": "d", "losses": "q", "anew": "q"}
_QUEUES = 8 * len(_FIELDS)
#: Bytes for names of queues that are added later; those of the start have room of their own.
_SPARE = 64 * 1024


class Word:
    """One writer a field at a time; readers may be any process."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._memory = mmap.mmap(-1, _QUEUES + 8 + len(json.dumps(list(queues))) + _SPARE)
        self.queues = queues
        #: What the processes of the pool run.
        self.attempts = AttemptTable()
        #: Jobs to cancel.
        self.cancels = CancelPipe()

    @property
    def drain_at(self) -> float:
        """0 while nobody shuts down."""
        return float(self._get("drain_at"))

    @drain_at.setter
    def drain_at(self, moment: float) -> None:
        self._set("drain_at", moment)

    @property
    def losses(self) -> int:
        return int(self._get("losses"))

    @losses.setter
    def losses(self, number: int) -> None:
        self._set("losses", number)

    @property
    def anew(self) -> bool:
        """Whether the worker, when it has ended, begins again."""
        return bool(self._get("anew"))

    @anew.setter
    def anew(self, wish: bool) -> None:
        self._set("anew", int(wish))

    @property
    def queues(self) -> Sequence[str]:
        """Which the worker listens to."""
        length = struct.unpack_from("q", self._memory, _QUEUES)[0]
        start = _QUEUES + 8
        found: list[str] = json.loads(self._memory[start : start + length])
        return found

    @queues.setter
    def queues(self, names: Sequence[str]) -> None:
        text = json.dumps(list(names)).encode()
        room = len(self._memory) - _QUEUES - 8
        if len(text) > room:
            raise ConfigurationError(f"the names of {len(names)} queues take {len(text):,} bytes; {room:,} are left")
        self._memory[_QUEUES : _QUEUES + 8 + len(text)] = struct.pack("q", len(text)) + text

    def _get(self, field: str) -> float | int:
        found: float | int = struct.unpack_from(_FIELDS[field], self._memory, 8 * list(_FIELDS).index(field))[0]
        return found

    def _set(self, field: str, value: float) -> None:
        struct.pack_into(_FIELDS[field], self._memory, 8 * list(_FIELDS).index(field), value)


class Role(NamedTuple):
    """A process's part in its worker: what the worker's parent has to say, and how it is told what only it can do.

    `take_in` is told, again and again, whether the registry calls the worker deaf.
    """

    name: str
    instance: str
    slots: int
    pool: str
    word: Word
    obey: Callable[[Command], Outcome | None]
    take_in: Callable[[bool], None]
    #: The place of this process in a pool of processes.
    place: int = 0

    @property
    def own_process(self) -> bool:
        """Whether the process has one slot and may be killed to end its body."""
        return self.pool == "prefork"

    def begin(self, attempt: Attempt) -> None:
        """Shows the parent what this process runs."""
        if self.own_process:
            self.word.attempts.begin(self.place, attempt)

    def end(self) -> None:
        """Shows the parent that this process runs nothing."""
        if self.own_process:
            self.word.attempts.clear(self.place)

    def show_progress(self) -> None:
        """Shows the parent that this loop runs, as it cannot while a task holds the interpreter's lock."""
        if self.own_process:
            self.word.attempts.show_progress(self.place)
