"""The end of a log file, and what is added to it, over its turning by supervisord."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Seconds between two looks for news.
LOOK = 0.2


def tail(file: Path, lines: int) -> list[str]:
    """The last lines; none where there is no file."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", errors="replace") as open_:
        return [line.rstrip("\n") for line in deque(open_, maxlen=lines)]


class Growing:
    """A file that grows: gives each line once, from its present end on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._place = self._size()
        self._part = b""

    def news(self) -> list[str]:
        """The whole lines added since the last call."""
        size = self._size()
        if size < self._place:
            # It was turned: the new file is read from its start.
            self._place = 0
        if size == self._place:
            return []
        with self._file.open("rb") as open_:
            open_.seek(self._place)
            added = open_.read(size - self._place)
        self._place = size
        *whole, self._part = (self._part + added).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def _size(self) -> int:
        return self._file.stat().st_size if self._file.exists() else 0


def follow(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """(name, line) for every line added to any of them, for ever."""
    growing = {name: Growing(file) for name, file in files.items()}
    while True:
        for name, file in growing.items():
            for line in file.news():
                yield name, line
        time.sleep(LOOK)
