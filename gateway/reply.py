"""An answer whose body is ready: the lightest ASGI response there can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]

JSON = b"application/json"

_NO_STORE = (b"cache-control", b"no-store")

encode = msgspec.json.Encoder().encode


class Reply:
    """Status, body and extra headers; is itself an ASGI app, as Starlette's responses are."""

    __slots__ = ("body", "headers", "media_type", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Headers = (), media_type: bytes = JSON) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self._head()})
        await send({"type": "http.response.body", "body": self.body})

    def _head(self) -> list[tuple[bytes, bytes]]:
        if self.status == 304:
            return [*self.headers]
        length = str(len(self.body)).encode()
        head = [(b"content-type", self.media_type), (b"content-length", length), *self.headers]
        # Jobs hold what is nobody else's: no cache on the way keeps an answer that does not say how.
        return head if any(name == b"cache-control" for name, _ in self.headers) else [*head, _NO_STORE]


def ok(value: Any, headers: Headers = ()) -> Reply:
    return Reply(200, encode(value), headers)
