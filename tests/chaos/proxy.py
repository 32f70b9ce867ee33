"""A wire that can be cut: a small TCP proxy on a thread of its own, in front of a broker or a database."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import suppress

#: How bytes pass. `half` loses the answers only: what was asked is done, and nobody hears of it.
MODES = ("pass", "slow", "hole", "half")
#: Seconds that `slow` holds up each piece, at most.
SLOW = 0.3


class Proxy:
    """Listens on `port` of loopback; `target` is a port there or the path of a socket."""

    def __init__(self, target: int | str) -> None:
        self._target = target
        self.mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def reset(self) -> None:
        """RST on every connection, both ways."""
        self._loop.call_soon_threadsafe(self._abort)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self.reset()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._target, int):
                there = await asyncio.open_connection("127.0.0.1", self._target)
            else:
                there = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there[1]}
        self._writers |= both
        with suppress(OSError, asyncio.CancelledError):
            up, down = self._carry(reader, there[1], up=True), self._carry(there[0], writer, up=False)
            await asyncio.wait([asyncio.ensure_future(up), asyncio.ensure_future(down)], return_when="FIRST_COMPLETED")
        self._writers -= both
        for end in both:
            end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(1 << 16):
                if self.mode == "slow":
                    await asyncio.sleep(random.uniform(SLOW / 3, SLOW))
                # What a hole swallowed is gone: the connection is of no use to anybody afterwards.
                if self.mode != "hole" and (up or self.mode != "half"):
                    writer.write(piece)
                    await writer.drain()
