"""The open connections of a gateway: which of them are quiet, and how many there may be."""

from __future__ import annotations

import asyncio
import resource
from typing import Protocol

#: Connections at once; more are answered 503.
MAX_CONNECTIONS = 1000
#: File descriptors that a gateway needs beside its connections: files, the store, the broker, what tasks open.
RESERVED_FILES = 256
#: Share of the connections that may be open before quiet ones are closed.
ROOM = 0.9


class Open(Protocol):
    """A connection."""

    transport: asyncio.Transport


class Crowd:
    """Connections in the order in which they fell silent, without those whose request is being read or answered.

    A connection is quiet before the head of a request is complete, and between two requests. When there are too many
    connections, the one that has been quiet for longest is closed: silent ones keep nobody out.
    """

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        self.limit = limit
        self._room = round(limit * ROOM)
        self._quiet: dict[Open, None] = {}

    def joined(self, connection: Open, number: int) -> None:
        """A new connection, one of `number`."""
        if number > self._room and self._quiet:
            oldest = next(iter(self._quiet))
            del self._quiet[oldest]
            oldest.transport.close()
        self._quiet[connection] = None

    def speaks(self, connection: Open) -> None:
        """The head of a request is complete."""
        self._quiet.pop(connection, None)

    def silent(self, connection: Open) -> None:
        """A request and its answer are complete."""
        self._quiet[connection] = None

    def left(self, connection: Open) -> None:
        self._quiet.pop(connection, None)


def raise_file_limit() -> int:
    """Let this process open as many files as it may by its hard limit; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else MAX_CONNECTIONS + RESERVED_FILES


def connections_within(files: int) -> int:
    """How many connections a process that may open so many files can take, and still open what its tasks need."""
    return max(32, min(MAX_CONNECTIONS, files - RESERVED_FILES))
