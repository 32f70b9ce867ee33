"""A TCP proxy on its own thread, before a broker or a database: its connections can be slowed, cut and lost."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

#: How bytes pass. `half` loses the answers only: the request is executed, and its client is not told.
MODES = ("pass", "slow", "hole", "half")
#: Seconds that `slow` holds up each piece, at most.
SLOW = 0.3
#: Linger for no second: closing sends RST, as a peer does that knows nothing of the connection.
_AT_ONCE = struct.pack("ii", 1, 0)


class Link:
    """One connection through the proxy: the client's end and the server's."""

    def __init__(self, client: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self.client = client
        self.task = task
        self.server: asyncio.StreamWriter | None = None
        #: The client's own port.
        self.port: int = client.get_extra_info("peername")[1]
        #: Nothing passes any more, and neither end is told that the other one has closed: a host without power.
        self.lost = False
        #: The server has closed its end.
        self.dropped = threading.Event()

    def abort(self) -> None:
        """RST to both ends."""
        for end in (self.client, self.server):
            if end is not None:
                with suppress(OSError):  # it may be closed already
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                end.transport.abort()


#: Sees each piece before it passes: the connection, the bytes, and whether they go up to the server.
Watch = Callable[[Link, bytes, bool], None]


class Proxy:
    """Listens on `port` of loopback; `target` is a port there or the path of a socket."""

    def __init__(self, target: int | str, watch: Watch | None = None) -> None:
        self._target = target
        self._watch = watch
        self.mode = "pass"
        self._links: set[Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def links(self) -> list[Link]:
        """The connections of this moment."""
        return list(self._links)

    def reset(self) -> None:
        """RST on every connection, both ways."""
        self._loop.call_soon_threadsafe(self._abort)

    def restore(self) -> None:
        """RST on the connections that are lost: a host that is back is told so by those that gave it up."""
        for link in self.links:
            if link.lost:
                self._loop.call_soon_threadsafe(link.abort)

    def stop(self) -> None:
        """Close every connection, also those that are being made, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _abort(self) -> None:
        for link in self.links:
            link.abort()

    async def _close(self) -> None:
        while len(asyncio.all_tasks()) > 1:
            # Not all tasks: one that is cancelled before its first step closes nothing.
            for link in self.links:
                link.task.cancel()
            await asyncio.sleep(0.001)
        self._server.close()  # last: asyncio forgets connections that it is taking at this moment

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = Link(writer, task)
        self._links.add(link)
        try:
            with suppress(OSError, asyncio.CancelledError):  # asyncio logs a cancelled server task as an error
                await self._connect(link, reader)
        finally:
            self._links.discard(link)
            link.abort()
            for end in (link.client, link.server):
                if end is not None:
                    with suppress(OSError):
                        await end.wait_closed()  # the loop may stop as soon as this returns

    async def _connect(self, link: Link, reader: asyncio.StreamReader) -> None:
        if isinstance(self._target, int):
            there, link.server = await asyncio.open_connection("127.0.0.1", self._target)
        else:
            there, link.server = await asyncio.open_unix_connection(self._target)
        ways = [
            asyncio.ensure_future(way)
            for way in (self._carry(link, reader, link.server, True), self._carry(link, there, link.client, False))
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if link.lost:
            await asyncio.wait(ways[1:])  # until the server gives the connection up by itself
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(1 << 16):
                if self._watch is not None:
                    self._watch(link, piece, up)
                if self.mode == "slow":
                    await asyncio.sleep(random.uniform(SLOW / 3, SLOW))
                # What a hole swallowed is gone: the connection is of no use to anybody afterwards.
                if not link.lost and self.mode != "hole" and (up or self.mode != "half"):
                    writer.write(piece)
                    await writer.drain()
        if not up:
            link.dropped.set()
