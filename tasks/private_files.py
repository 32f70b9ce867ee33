"""Files that only their owner can read: databases hold arguments and results, logs what tasks say."""

from __future__ import annotations

import os
from contextlib import suppress


def keep_files_private() -> None:
    """Sets this process's umask to 077: files and folders that it makes from now on are for its user alone."""
    os.umask(0o077)


def create_private(path: str | None) -> None:
    """Creates an SQLite database's file with mode 0600, which SQLite gives its -wal and -shm too.

    A database that exists keeps the mode that its owner gave it.
    """
    # Whatever else is wrong with the path, SQLite says it better.
    with suppress(OSError):
        os.close(os.open(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
