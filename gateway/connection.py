"""uvicorn's HTTP connection with patience and manners: time and size limits, and problems instead of bare text."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.problems import MEDIA_TYPE, PROBLEMS, Refusal, document

#: Seconds for a request's head to arrive, and for all of it.
HEAD_PATIENCE = 10.0
BODY_PATIENCE = 30.0
#: Bytes of one request's head.
MAX_HEAD = 64 * 1024


class Connection(HttpToolsProtocol):
    """Looked at ten times a second by the server's own tick, so that no request pays for a timer."""

    #: Since when the request that is on its way is being read; None between requests.
    reading_since: float | None = None
    reading_head = True
    _head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.reading_since = self.loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        # True here means that the head did not fit into the packets before.
        if self.reading_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                return self._refuse("headers-too-large", f"the request's head may have {MAX_HEAD:,} bytes")
        super().data_received(data)
        return None

    def on_message_begin(self) -> None:
        self.reading_since = self.loop.time()
        self.reading_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.reading_head = False
        self._head_size = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.reading_since = None
        super().on_message_complete()

    def check_patience(self) -> None:
        """Refuse a request that has been arriving for too long."""
        if self.reading_since is None or self.transport.is_closing():
            return
        patience = HEAD_PATIENCE if self.reading_head else BODY_PATIENCE
        if self.loop.time() - self.reading_since <= patience:
            return
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            # An answer is on its way although the request is not complete; nothing can be said in between.
            self.transport.close()
            return
        self._refuse("request-timeout", f"the whole request must arrive within {patience:g} seconds")

    def send_400_response(self, msg: str) -> None:
        self._refuse("malformed-request", "this is not HTTP/1.1 as RFC 9112 has it")

    def _refuse(self, kind: str, detail: str) -> None:
        body = document(Refusal(kind, detail))
        head: list[tuple[bytes, Any]] = [
            *self.server_state.default_headers,
            (b"content-type", MEDIA_TYPE),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [STATUS_LINE[PROBLEMS[kind][0]], *(b"%s: %s\r\n" % each for each in head), b"\r\n", body]
        self.transport.write(b"".join(lines))
        self.transport.close()
