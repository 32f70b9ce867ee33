"""uvicorn's HTTP connection with patience and manners: time and size limits, and problems instead of bare text."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.crowd import Crowd
from gateway.problems import MEDIA_TYPE, PROBLEMS, Refusal, document

#: Seconds for a request's head to arrive, and for all of it.
HEAD_PATIENCE = 10.0
BODY_PATIENCE = 30.0
#: Bytes of one request's head, counted as its line and the names and values of its fields.
MAX_HEAD = 64 * 1024
#: Bytes and fields of a chunked body that carry none of it: trailers, chunk sizes and their extensions. Each byte of
#: the body allows for `CHUNK_COST` more, because a chunk of one byte needs five others.
MAX_TRAILERS = 8 * 1024
MAX_TRAILER_FIELDS = 64
CHUNK_COST = 8
#: Seconds for which an answer may lie unread before the connection is ended: it is kept in memory until then.
READ_PATIENCE = 30.0
#: Seconds that the rest of a request may take when its answer is complete already.
LINGER = 2.0


class Lingering:
    """The transport as an answer sees it. Closing it waits for the rest of the request, which is read and dropped.

    A socket that is closed while its client still writes is reset, and a reset may overtake the answer.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.write = connection.transport.write

    def close(self) -> None:
        self._connection.close_when_read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.transport, name)


class Connection(HttpToolsProtocol):
    """Looked at ten times a second by the server's own tick, so that no request pays for a timer."""

    #: Since when the request that is on its way is being read; None between requests.
    reading_since: float | None = None
    reading_head = True
    _refused = _closing = False
    #: Requests of which this packet has brought the beginning, and the bytes of the head that is being read.
    _begun = 0
    _head_size = _fields_size = 0
    #: Of the request that is being read, since its head: bytes received, bytes of its body, fields of its trailer.
    _tail_size = _body_size = _trailer_fields = 0
    _answered_at: float | None = None
    #: Bytes of answers that the client has not taken, and since when there are so many.
    _unread = 0
    _unread_since = 0.0

    def __init__(self, *arguments: Any, crowd: Crowd, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._crowd = crowd

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.reading_since = self.loop.time()
        super().connection_made(transport)
        self._crowd.joined(self, len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        in_head, self._begun = self.reading_head, 0
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if not in_head and not self._begun:
            self._count_tail(len(data))
        # What a packet brings of a head is known only where nothing else is in it. A head that is complete has been
        # counted field by field.
        elif in_head and self.reading_head and self.reading_since is not None and self._begun <= 1:
            self._head_size += len(data)
            self._check_head(self._head_size)

    def on_message_begin(self) -> None:
        self.reading_since = self.loop.time()
        self.reading_head = True
        self._begun += 1
        self._head_size = self._fields_size = self._tail_size = self._body_size = self._trailer_fields = 0
        self._answered_at = None
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_field(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.reading_head:
            super().on_header(name, value)
            self._count_field(len(name) + len(value) + 4)  # with the colon, the space and the end of the line
            return
        # A field after the body. Nothing here reads trailers, so they are counted and dropped.
        self._trailer_fields += 1
        if self._trailer_fields > MAX_TRAILER_FIELDS:
            self._refuse("headers-too-large", f"a request may have {MAX_TRAILER_FIELDS} trailer fields")

    def on_headers_complete(self) -> None:
        self.reading_head = False
        self._head_size = 0
        self._crowd.speaks(self)
        if not self._refused:
            super().on_headers_complete()
            if self.scope["method"] not in {"GET", "HEAD"}:
                self.cycle.transport = Lingering(self)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.reading_since = None
        # Between requests: the next packet begins with a head.
        self.reading_head = True
        if self._closing:
            self.transport.close()
        elif not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.reading_since is not None and not self.reading_head:
            self._answered_at = self.loop.time()
        super().on_response_complete()
        if self.reading_since is None and not self.transport.is_closing():
            self._crowd.silent(self)

    def close_when_read(self) -> None:
        """Close now, or at the end of a request that is still being read, or after `LINGER` seconds."""
        if self.reading_since is None:
            self.transport.close()
        else:
            self._closing = True

    def _count_field(self, size: int) -> None:
        self._fields_size += size
        self._check_head(self._fields_size)

    def _check_head(self, size: int) -> None:
        if size > MAX_HEAD and not self._refused:
            self._refuse("headers-too-large", f"the request's head may have {MAX_HEAD:,} bytes")

    def _count_tail(self, size: int) -> None:
        self._tail_size += size
        if self._tail_size - self._body_size > MAX_TRAILERS + CHUNK_COST * self._body_size:
            words = f"trailers and chunk extensions of a request may have {MAX_TRAILERS:,} bytes"
            self._refuse("headers-too-large", words)

    def check_patience(self) -> None:
        """Refuse a request that has been arriving for too long, end a connection whose answers nobody reads."""
        if self._is_unread():
            self.transport.abort()
            return
        if self.reading_since is None or self.transport.is_closing():
            return
        if self._answered_at is not None and self.loop.time() - self._answered_at > LINGER:
            self.transport.close()
            return
        patience = HEAD_PATIENCE if self.reading_head else BODY_PATIENCE
        if self.loop.time() - self.reading_since <= patience:
            return
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            # An answer is on its way although the request is not complete; nothing can be said in between.
            self.transport.close()
            return
        self._refuse("request-timeout", f"the whole request must arrive within {patience:g} seconds")

    def _is_unread(self) -> bool:
        unread, before, now = self.transport.get_write_buffer_size(), self._unread, self.loop.time()
        self._unread = unread
        if unread == 0 or unread < before or before == 0:
            self._unread_since = now
        return now - self._unread_since > READ_PATIENCE and unread > 0

    def send_400_response(self, msg: str) -> None:
        self._refuse("malformed-request", "this is not HTTP/1.1 as RFC 9112 has it")

    def _refuse(self, kind: str, detail: str) -> None:
        self._refused = True
        if self._answered_at is not None:  # a second answer would be taken for that of another request
            self.transport.close()
            return
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
