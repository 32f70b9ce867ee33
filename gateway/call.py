"""One request, as an endpoint sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope

from gateway import query
from gateway.problems import Refusal

if TYPE_CHECKING:  # the gateway makes calls; the other way round is only for readers and mypy
    from executors.control import Control
    from gateway.app import Gateway

T = TypeVar("T")

_CLOSE = [(b"connection", b"close")]


class Call:
    """Reads the request no further than the endpoint asks for."""

    __slots__ = ("caller", "control", "gateway", "headers", "outcome", "params", "path", "receive", "scope")

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive) -> None:
        self.gateway = gateway
        self.control: Control = gateway.control
        self.scope = scope
        self.receive = receive
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        #: The name of the caller's API key; empty where there are no keys.
        self.caller = ""
        #: What the audit trail says about how it ended well.
        self.outcome = "ok"
        #: What stands in the places that the address leaves open.
        self.params: dict[str, str] = {}

    @property
    def job_id(self) -> str:
        return query.job_id(self.params["id"])

    def query(self, kind: type[T]) -> T:
        return query.parameters(self.scope["query_string"], kind)

    async def json(self, limit: int) -> bytes:
        """The body, which must say that it is JSON and have at most `limit` bytes."""
        kind = self.headers.get(b"content-type")
        if kind != b"application/json":
            _check_media_type(kind)
        if _declared_length(self.headers) > limit:
            raise _too_large(limit)
        message = await self.receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body") or message["type"] != "http.request":
            return await self._rest(message, limit)
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _rest(self, message: Message, limit: int) -> bytes:
        parts, size = [], 0
        while message["type"] == "http.request":
            part: bytes = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self.receive()
        raise Gone


class Gone(Exception):
    """The caller left before the request was complete; nobody reads an answer."""


Endpoint: TypeAlias = Callable[[Call], Awaitable[ASGIApp]]


def _check_media_type(kind: bytes | None) -> None:
    media_type, _, rest = (kind or b"").lower().partition(b";")
    charset = rest.strip().replace(b'"', b"")
    if media_type.strip() != b"application/json" or charset not in (b"", b"charset=utf-8"):
        shown = "none" if kind is None else repr(kind.decode("latin-1")[:100])
        raise Refusal(
            "unsupported-media-type", f"send Content-Type: application/json (in UTF-8); got {shown}", [], _CLOSE
        )


def _declared_length(headers: dict[bytes, bytes]) -> int:
    try:
        return int(headers.get(b"content-length", b"0"))
    except ValueError:
        raise Refusal("malformed-request", "Content-Length takes a whole number", [], _CLOSE) from None


def _too_large(limit: int) -> Refusal:
    remedy = "split it, or pass the path of a file"
    return Refusal("payload-too-large", f"the body may have {limit:,} bytes: {remedy}", [], _CLOSE)
