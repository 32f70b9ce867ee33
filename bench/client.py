"""A load generator that costs little: it shares the machine with what it measures.

`python -m bench.client` reads a Load from stdin and writes a Taken to stdout. One request at a time on each
connection, kept alive; the request's bytes are made once, and of an answer only status and length are read.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import msgspec
import uvloop
from msgspec import Struct


class Load(Struct, kw_only=True):
    """What to send: for `seconds`, or `requests` of them. Answers of the first `warmup` seconds are not counted."""

    port: int
    path: str = "/api/v1/jobs"
    body: str
    headers: dict[str, str] = {}
    connections: int = 32
    seconds: float = 3600.0
    requests: int = 1 << 60
    warmup: float = 0.3


class Taken(Struct, kw_only=True):
    """How it was taken. `sent` counts all requests, `rate`, `p50` and `p99` (ms) those after the warm-up; `wrong` are
    answers that were no 2xx; `began` is the time of day of the first request, `cpu` the generator's own seconds."""

    sent: int
    rate: float
    p50: float
    p99: float
    wrong: int
    began: float
    cpu: float


class Run:
    """The state that the connections share."""

    def __init__(self, load: Load) -> None:
        self.request = _request(load)
        self.left = load.requests
        self.sent = self.wrong = self.open = 0
        self.times: list[float] = []
        self.counted_from = time.perf_counter() + load.warmup
        self.ends = time.perf_counter() + load.seconds
        self.began = time.time()
        self.last = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def taken(self) -> Taken:
        times = sorted(self.times) or [0.0]
        span = max(self.last - self.counted_from, 1e-9)
        p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
        rate = len(self.times) / span
        cpu = time.process_time()
        return Taken(sent=self.sent, rate=rate, p50=p50, p99=p99, wrong=self.wrong, began=self.began, cpu=cpu)


class Connection(asyncio.Protocol):
    """Asks, reads the answer, asks again."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._answer = b""
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self._run.open += 1
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        length = _length(self._answer)
        if length and len(self._answer) >= length:
            self._note()
            self._answer = b""
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.open -= 1
        if self._run.open == 0 and not self._run.done.done():
            self._run.done.set_result(None)

    def _ask(self) -> None:
        run, now = self._run, time.perf_counter()
        if run.left == 0 or now >= run.ends:
            self._transport.close()
            return
        run.left -= 1
        run.sent += 1
        self._asked_at = now
        self._transport.write(run.request)

    def _note(self) -> None:
        run, now = self._run, time.perf_counter()
        if not self._answer.startswith(b"HTTP/1.1 2"):
            run.wrong += 1
        if now >= run.counted_from:
            run.times.append(now - self._asked_at)
            run.last = now


def _request(load: Load) -> bytes:
    body = load.body.encode()
    headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": len(body), **load.headers}
    lines = [f"POST {load.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def _length(answer: bytes) -> int:
    """The length of the whole answer, or 0 while its head is not complete."""
    head = answer.find(b"\r\n\r\n")
    start = answer.find(b"content-length: ") + 16
    return head + 4 + int(answer[start : answer.index(b"\r", start)]) if head >= 0 and start >= 16 else 0


async def run(load: Load) -> Taken:
    shared = Run(load)
    loop = asyncio.get_running_loop()
    for _ in range(load.connections):
        await loop.create_connection(lambda: Connection(shared), "127.0.0.1", load.port)
    await shared.done
    return shared.taken()


if __name__ == "__main__":
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(wanted))))
