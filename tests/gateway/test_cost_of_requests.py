"""What an address, a query or a header costs grows no faster than its length, whoever sends it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from executors.control import Control
from gateway.app import Gateway
from tests.gateway.support import NOBODY, make_gateway

JOBS = "/api/v1/jobs"
KEY = "0123456789abcdef0123456789abcdef"
#: Bytes of requests that are compared, about as many as a query may have, and of one as large as a head may be.
SMALL, LARGE, HUGE = 2_000, 16_000, 60_000


class Shape(NamedTuple):
    """A request whose address, query or header has about so many bytes."""

    name: str
    address: Callable[[int], str] = lambda n: f"{JOBS}/{NOBODY}"
    headers: Callable[[int], dict[str, str]] = lambda n: {}
    method: str = "GET"


SHAPES = [
    Shape("states", lambda n: f"{JOBS}?status=" + ",".join(["FAILURE"] * (n // 8))),
    Shape("wrong states", lambda n: f"{JOBS}?status=" + ",".join(["DONE"] * (n // 5))),
    Shape("tasks", lambda n: f"{JOBS}?task=" + ",".join(f"t{i}" for i in range(n // 6))),
    Shape("queues", lambda n: f"{JOBS}?queue=" + ",".join(f"q{i}" for i in range(n // 6))),
    Shape("repeated parameters", lambda n: f"{JOBS}?" + "&".join(["task=a"] * (n // 7))),
    Shape("unknown parameters", lambda n: f"{JOBS}?" + "&".join(f"a{i}=1" for i in range(n // 8))),
    Shape("a long parameter", lambda n: f"{JOBS}?{'a' * n}=1"),
    Shape("a long tag", lambda n: f"{JOBS}?tag={'a' * n}"),
    Shape("percent signs", lambda n: f"{JOBS}?task=" + "%C3%A9" * (n // 6)),
    Shape("broken percent signs", lambda n: f"{JOBS}?task=" + "%" * n),
    Shape("digits", lambda n: f"{JOBS}?page_size=" + "9" * n),
    Shape("a moment", lambda n: f"{JOBS}?created_after=" + "2030-01-31T09:00:00Z" * (n // 20)),
    Shape("a page token", lambda n: f"{JOBS}?page_token=" + "QUFB" * (n // 4)),
    Shape("separators", lambda n: f"{JOBS}?" + "&" * n),
    Shape("a long id", lambda n: f"{JOBS}/" + "a" * n),
    Shape("an id of hyphens", lambda n: f"{JOBS}/" + "0-" * (n // 2)),
    Shape("slashes", lambda n: "/" * n),
    Shape("parts of a path", lambda n: "/api/v1" + "/jobs" * (n // 5)),
    Shape("a schedule's name", lambda n: "/api/v1/schedules/" + "%E2%80%A8" * (n // 9)),
    Shape("preferences", headers=lambda n: {"prefer": "wait=x, " * (n // 8)}),
    Shape("spaces in a preference", headers=lambda n: {"prefer": "wait" + " " * n + "x"}),
    Shape("entity tags", headers=lambda n: {"if-none-match": '"a", ' * (n // 5)}),
    Shape("media types", lambda n: "/metrics", lambda n: {"accept": "text/plain;q=0.5, " * (n // 18)}),
    Shape("codings", lambda n: "/metrics", lambda n: {"accept-encoding": "gzip;q=0, " * (n // 10)}),
    Shape("an event id", lambda n: f"{JOBS}/{NOBODY}/events", lambda n: {"last-event-id": "1-" * (n // 2)}),
    Shape("an idempotency key", lambda n: JOBS, lambda n: {"idempotency-key": "k" * n}, "POST"),
    Shape("a media type's parameters", lambda n: JOBS, lambda n: {"content-type": "a/b;" + " x=1;" * (n // 5)}, "POST"),
    Shape("a key", headers=lambda n: {"authorization": "Bearer " + "x" * n}),
    Shape("spaces before a key", headers=lambda n: {"authorization": "Bearer" + " " * n + "x"}),
    Shape("a host", headers=lambda n: {"host": "[" + "a:" * (n // 2)}),
    Shape("a method", method="G" * 1_000),
]


async def ask(gateway: Gateway, shape: Shape, size: int) -> tuple[int, bytes]:
    """Status and body of the answer."""
    path, _, query = shape.address(size).partition("?")
    given = {"host": "127.0.0.1", "content-type": "application/json", **shape.headers(size)}
    scope = {
        "type": "http", "method": shape.method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()], "http_version": "1.1",
        "client": ("127.0.0.1", 1), "asgi": {"spec_version": "2.3"},
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"task":"tests.nothing"}', "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await gateway(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def seconds(gateway: Gateway, shape: Shape, size: int) -> float:
    """Of this thread's processor, the least of several rounds: another process does not count."""
    rounds = []
    for _ in range(7):
        began = time.thread_time()
        await ask(gateway, shape, size)
        rounds.append(time.thread_time() - began)
    return min(rounds)


@pytest.mark.parametrize("keys", [(), (f"ops:{KEY}:admin",)], ids=["without keys", "with keys"])
@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
async def test_a_request_costs_no_more_than_in_proportion_to_its_length(
    control: Control, shape: Shape, keys: tuple[str, ...]
) -> None:
    gateway = make_gateway(control, api_keys=keys)
    for size in (LARGE, HUGE):
        status, body = await ask(gateway, shape, size)
        assert status < 500
        assert len(body) < 20_000 or status == 200, "an answer repeats no more than a reader needs"
    # Eight times the size: what is quadratic takes 64 times as long, and noise does not.
    small = max(await seconds(gateway, shape, SMALL), 0.0005)
    assert await seconds(gateway, shape, LARGE) < 8 * 2.5 * small
    tracemalloc.start()
    await ask(gateway, shape, HUGE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * HUGE, "a value of one character is an object of fifty bytes"
