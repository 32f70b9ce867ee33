"""Limits of what a client may send: each holds however the bytes arrive, and refusing costs no more than reading."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from gateway import connection, intake
from gateway.problems import Refusal
from gateway.server import Server
from tests.gateway.test_server import port_of, server, store

__all__ = ["server", "store"]  # fixtures of the tests here

PATH = b"/api/v1/jobs"
MEBIBYTE = 1 << 20


class Client:
    """One connection, on which requests follow each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, pieces: Iterator[bytes]) -> int:
        """The status of the answer. A server that refuses need not read the rest."""
        try:
            for piece in pieces:
                self._writer.write(piece)
                await self._writer.drain()
        except ConnectionError:
            pass
        async with asyncio.timeout(30):
            head = await self._reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            await self._reader.readexactly(int(fields[b"content-length"]))
        return int(head[9:12])

    async def closed(self) -> bool:
        async with asyncio.timeout(30):
            try:
                return await self._reader.read(1) == b""
            except ConnectionError:
                return True


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    yield Client(reader, writer)
    writer.close()


def head(path: bytes = PATH, *fields: bytes) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: 127.0.0.1", b"Content-Type: application/json", *fields]
    return b"\r\n".join([*lines, b"", b""])


def submission(size: int) -> bytes:
    """A body of so many bytes that would be accepted."""
    frame = b'{"task":"tests.nothing","tags":["a"]%s}'
    return frame % (b" " * (size - len(frame) + 2))


def batch(size: int) -> bytes:
    frame = b'{"jobs":[{"task":"tests.nothing"}]%s}'
    return frame % (b" " * (size - len(frame) + 2))


def at_once(first: bytes, body: bytes) -> Iterator[bytes]:
    yield first.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(body)) + body


def in_pieces(first: bytes, body: bytes) -> Iterator[bytes]:
    whole = next(at_once(first, body))
    for start in range(512):
        yield whole[start : start + 1]
    for start in range(512, len(whole), 60_000):
        yield whole[start : start + 60_000]


def chunked(first: bytes, body: bytes) -> Iterator[bytes]:
    chunks = [first.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")]
    for start in range(0, len(body), 50_000):
        part = body[start : start + 50_000]
        chunks.append(b"%x\r\n%s\r\n" % (len(part), part))
    yield b"".join([*chunks, b"0\r\n\r\n"])


@pytest.mark.parametrize("way", [at_once, in_pieces, chunked])
@pytest.mark.parametrize(
    ("first", "body", "status"),
    [
        pytest.param(head(), submission(70_000), 202, id="more than a head may have"),
        pytest.param(head(), submission(round(0.9 * MEBIBYTE)), 202, id="0.9 MiB"),
        pytest.param(head(), submission(round(1.1 * MEBIBYTE)), 413, id="1.1 MiB"),
        pytest.param(head(PATH + b":batch"), batch(round(0.9 * 16 * MEBIBYTE)), 202, id="batch of 14.4 MiB"),
        pytest.param(head(PATH + b":batch"), batch(round(1.1 * 16 * MEBIBYTE)), 413, id="batch of 17.6 MiB"),
    ],
)
async def test_a_body_is_limited_by_its_own_limit(
    client: Client, way: Callable[[bytes, bytes], Iterator[bytes]], first: bytes, body: bytes, status: int
) -> None:
    assert await client.send(way(first, body)) == status
    if status == 202:
        assert await client.send(way(first, body)) == status, "the second request of a connection"


@pytest.mark.parametrize("way", [at_once, in_pieces])
@pytest.mark.parametrize(("share", "status"), [(0.9, 202), (1.1, 431)])
@pytest.mark.parametrize("kind", ["a long value", "many fields", "a long query"])
async def test_a_head_is_limited_whatever_fills_it(
    client: Client, way: Callable[[bytes, bytes], Iterator[bytes]], share: float, status: int, kind: str
) -> None:
    size = round(share * connection.MAX_HEAD)
    first = {
        "a long value": head(PATH, b"X-Long: " + b"a" * size),
        "many fields": head(PATH, *[b"X-%06d: a" % n for n in range(size // 13)]),
        "a long query": head(PATH + b"?wait=0" + b"0" * size),
    }[kind]
    found = await client.send(way(first, submission(200)))
    assert found == status if kind != "a long query" or status == 431 else found != 431


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"x:1\r\n" * 400_000, id="trailers"),
        pytest.param(b"x: " + b"a" * 2_000_000, id="one trailer without end"),
        pytest.param(b"1;" + b"e" * 2_000_000, id="a chunk extension"),
    ],
)
@pytest.mark.parametrize("end", [b"0\r\n", b""], ids=["after the last chunk", "before a chunk"])
async def test_what_a_chunked_request_brings_beside_its_body_is_limited(
    client: Client, server: Server, junk: bytes, end: bytes
) -> None:
    first = head(b"/api/v1/none").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + end
    assert await client.send(iter([first, junk])) in {400, 404, 415, 431}
    assert await client.closed()
    assert all(len(each.headers) < 100 for each in server.server_state.connections)  # type: ignore[union-attr]


async def test_a_request_that_is_answered_before_it_is_complete_is_not_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.2)
    first = head(b"/api/v1/none").replace(b"\r\n\r\n", b"\r\nContent-Length: 100\r\n\r\n")
    assert await client.send(iter([first, b"{"])) == 404
    assert await client.closed()


def keys(n: int) -> str:
    return "{" + ",".join(f'"k{i:07d}":0' for i in range(n)) + ',"z":NaN}'


#: Bodies of about 20 n bytes that are refused, or nearly are.
SHAPES: dict[str, Callable[[int], str]] = {
    "many keys, then NaN": keys,
    "many keys, one twice": lambda n: keys(n).replace("NaN", "0").replace('"z"', '"k0000000"'),
    "every key twice": lambda n: "{" + ",".join(f'"k{i // 2}":0' for i in range(n)) + "}",
    "a long key before many members": lambda n: (
        '{"' + "k" * 10 * n + '":[' + "0," * (4 * n) + '"\\ud83d\\ude00","\\u0000"]}'
    ),
    "deep and wide, NaN last": lambda n: "[" * 30 + "0," * (8 * n) + "NaN" + "]" * 30,
    "open brackets": lambda n: "[" * (20 * n),
    "open braces": lambda n: '{"a":' * (4 * n),
    "quotes": lambda n: '"' * (20 * n),
    "backslashes": lambda n: '["' + "\\\\" * (9 * n),
    "one long number": lambda n: "[" + "9" * (20 * n) + "]",
    "many long numbers": lambda n: "[" + ",".join(["9" * 30] * (n // 2)) + "]",
    "text that is no Unicode": lambda n: '["' + "\\ud800" * (3 * n) + '"]',
    "an unknown field": lambda n: '{"task":"a","' + "x" * (20 * n) + '":1}',
    "spaces": lambda n: " " * (20 * n) + "x",
}


def refuse(body: bytes) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        intake.submission(body)
    return refusal.value


def seconds(body: bytes) -> float:
    """Of this thread's processor, the least of several rounds: another process does not count."""
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        refuse(body)
        rounds.append(time.thread_time() - began)
    return min(rounds)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_refusing_a_body_takes_time_and_memory_in_proportion_to_its_size(shape: Callable[[int], str]) -> None:
    body = shape(4_000).encode()
    # Eight times the size: what is quadratic takes 64 times as long, and noise does not.
    assert seconds(shape(32_000).encode()) < 8 * 2.5 * max(seconds(body), 0.0005)
    tracemalloc.start()
    answer = refuse(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * len(body), "a list of small integers takes 8 bytes for two of the body, a dict some 100 for 14"
    assert len(str(answer)) < 2_000, "an answer repeats no more of the body than a reader needs"


@pytest.mark.parametrize("depth", [intake.MAX_DEPTH + 1, 980, 5_000, 300_000])
@pytest.mark.parametrize("inner", ["1", "NaN", '"\\u0000"'])
def test_what_is_nested_too_deep_is_refused_before_it_is_parsed(depth: int, inner: str) -> None:
    answer = refuse(("[" * depth + inner + "]" * depth).encode())
    assert "nested more than 32 deep" in str(answer.detail)


def test_brackets_inside_of_text_nest_nothing() -> None:
    value = {"a": "[" * 1_000, 'b\\"[': "{" * 1_000}
    assert intake.parse_json(json.dumps(value).encode()) == value


async def test_a_large_body_is_parsed_beside_the_event_loop() -> None:
    def thread_of(body: bytes) -> int:
        return threading.get_ident()

    assert await intake.read(thread_of, b"{}") == threading.get_ident()
    assert await intake.read(thread_of, b" " * intake.LARGE) != threading.get_ident()
