"""Files that are being written: under a name of their own, so that one appears when it is complete, never before."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedRandom

from tasks import Context


def folder_name(key: str) -> str:
    """The name of a job's folder: its key, or a digest where the key is not a plain word."""
    # A job that another program sent to Celery brings an id of that program's choice.
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key) else hashlib.sha256(key.encode()).hexdigest()[:32]


@contextmanager
def begun(place: int, context: Context) -> Iterator[str]:
    """The name of the unfinished file; nothing of that name is left behind, nor of the job's earlier attempts."""
    for leftover in os.listdir(place):
        if leftover.startswith(".draft-"):
            _remove(leftover, place)
    name = f".draft-{context.attempt}"
    try:
        yield name
    finally:
        _remove(name, place)


def opened(place: int, name: str) -> BufferedRandom:
    """The unfinished file, new and open for writing and reading."""
    return open(name, "w+b", opener=partial(_create, place))


def _create(place: int, name: str, flags: int) -> int:
    return os.open(name, flags | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=place)


def _remove(name: str, place: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=place)
