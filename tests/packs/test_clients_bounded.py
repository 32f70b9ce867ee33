"""Answers from outside without an end: no client of a service reads more than its limit, in whatever way it reads."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import httpx2
import pytest

from tasks.clients import bounded, chat
from tasks.clients.chat import Endpoint
from tasks.errors import FatalError, Retry
from tasks.packs.citations import asking

LIMIT = 100_000
#: What a server has sent at most before it notices that nobody reads: the limit, and the buffers of two sockets.
ON_THE_WAY = 8 << 20
QUESTION = [{"role": "user", "content": "?"}]

Sent = list[int]


@asynccontextmanager
async def endless(head: str, piece: bytes) -> AsyncIterator[tuple[str, Sent]]:
    """A server that answers every request with this head and this piece for ever; its address, and what it sent."""
    sent: Sent = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode())
        try:
            while sum(sent) < 4 * ON_THE_WAY:
                writer.write(piece)
                await writer.drain()
                sent.append(len(piece))
        except ConnectionError:
            pass
        finally:
            writer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    async with await asyncio.start_server(serve, sock=listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent


async def whole(endpoint: Endpoint) -> None:
    await chat.complete(endpoint, QUESTION)


async def streamed(endpoint: Endpoint) -> None:
    async with aclosing(chat.stream(endpoint, QUESTION)) as parts:
        async for _ in parts:
            pass


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_ANSWER", LIMIT)


EVENT = b'data: {"choices":[{"delta":{"content":"word "}}]}\n\n' * 200


@pytest.mark.parametrize("ask", [whole, streamed])
@pytest.mark.parametrize(
    ("head", "piece", "error", "words"),
    [
        pytest.param(
            "200 OK\r\nContent-Type: text/event-stream", EVENT, FatalError, "more than 100000 bytes", id="sse"
        ),
        pytest.param(
            "200 OK\r\nContent-Type: text/event-stream", b"x" * 60_000, FatalError, "more than 100000 bytes", id="line"
        ),
        pytest.param("404 Not Found", b"no such model " * 4_000, FatalError, "answered 404: no such model", id="404"),
        pytest.param("503 Busy\r\nRetry-After: 7", b"busy " * 9_000, Retry, "answered 503: busy", id="503"),
        pytest.param(
            "503 Busy\r\nContent-Encoding: gzip",
            gzip.compress(bytes(9_000_000)),
            Retry,
            "answered 503$",
            id="packed 503",
        ),
        pytest.param(
            "200 OK\r\nContent-Encoding: gzip", gzip.compress(bytes(9_000_000)), FatalError, "packed", id="packed 200"
        ),
    ],
)
async def test_a_model_that_never_ends_is_read_up_to_the_limit(
    ask: Callable[[Endpoint], Awaitable[None]], head: str, piece: bytes, error: type[Exception], words: str
) -> None:
    async with endless(head, piece) as (url, sent):
        async with asyncio.timeout(30):
            with pytest.raises(error, match=words) as raised:
                await ask(Endpoint(base_url=url, model="small"))
    assert url in str(raised.value), "it says which endpoint"
    assert sum(sent) < ON_THE_WAY


async def test_an_answer_of_exactly_the_limit_is_taken() -> None:
    def answering(size: int) -> httpx2.AsyncClient:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(size // 10):
                yield b"0123456789"

        return httpx2.AsyncClient(transport=httpx2.MockTransport(lambda request: httpx2.Response(200, content=body())))

    async with answering(100) as http, http.stream("GET", "http://127.0.0.1/") as answer:
        bounded.limit(answer, 100)
        assert await answer.aread() == b"0123456789" * 10
    async with answering(110) as http, http.stream("GET", "http://127.0.0.1/") as answer:
        bounded.limit(answer, 105, cut=True)
        assert await answer.aread() == (b"0123456789" * 11)[:105]
    async with answering(110) as http, http.stream("GET", "http://127.0.0.1/") as answer:
        bounded.limit(answer, 109)
        with pytest.raises(bounded.AnswerTooLarge):
            await answer.aread()


def test_every_client_of_a_platform_asks_for_plain_text() -> None:
    assert asking.bounded.PLAIN.items() <= dict(asking.connect(asking.Settings()).headers).items()
