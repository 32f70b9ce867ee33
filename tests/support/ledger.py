"""What really happened, told by the task bodies themselves: a line each, appended in one write."""

from __future__ import annotations

import os
from pathlib import Path


class Ledger:
    """A file that bodies in any process append to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


def note(path: str, line: object) -> None:
    """Append a line: O_APPEND makes one small write whole, whoever else writes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)
