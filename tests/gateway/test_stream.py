"""One job's life as it happens."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from executors.control import Control
from gateway import stream
from gateway.app import Gateway
from tests.gateway.conftest import client_of
from tests.gateway.support import NOBODY, Hand, make_gateway

JOBS = "/api/v1/jobs"
READ = {"task": "tests.read", "kwargs": {"path": "a.txt"}}


def told(text: str) -> list[dict[str, Any]]:
    blocks = [
        dict(line.split(": ", 1) for line in block.split("\n")) for block in text.split("\n\n") if "event: " in block
    ]
    return [{**block, "data": json.loads(block["data"])} for block in blocks]


async def test_every_transition_is_told_until_the_end(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = (await client.post(JOBS, json=READ)).json()

    async def live() -> None:
        await asyncio.sleep(0.05)
        attempt = await hand.claim(job["id"])
        await hand.store.report("hand", [[job["id"], 1, '{"current": 1}']], [[job["id"], 1, "info", "half way\nthere"]])
        await asyncio.sleep(0.3)
        await hand.settle(attempt)

    lives = asyncio.create_task(live())
    answer = await client.get(f"{JOBS}/{job['id']}/events")
    await lives
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    assert answer.text.startswith("retry: ")
    blocks = told(answer.text)
    statuses = [block["data"]["status"] for block in blocks if block["event"] == "status"]
    assert statuses == ["PENDING", "STARTED", "SUCCESS"]
    assert [block["data"]["message"] for block in blocks if block["event"] == "log"] == ["half way\nthere"]
    assert {"current": 1} in [block["data"] for block in blocks if block["event"] == "progress"]
    assert blocks[-1]["event"] == "done"
    assert blocks[-1]["data"]["result"] == "done"


async def test_a_listener_that_comes_back_hears_only_what_is_new(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = (await client.post(JOBS, json=READ)).json()
    await hand.succeed(job["id"])
    url = f"{JOBS}/{job['id']}/events"
    everything = told((await client.get(url)).text)
    assert [block["event"] for block in everything] == ["status", "status", "status", "done"]
    rest = told((await client.get(url, headers={"last-event-id": everything[1]["id"]})).text)
    assert [block["event"] for block in rest] == ["status", "done"]
    odd = told((await client.get(url, headers={"last-event-id": "what?"})).text)
    assert odd == everything


async def test_a_quiet_stream_shows_that_it_lives(
    client: httpx2.AsyncClient, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_HEARTBEAT", 0.2)
    job = (await client.post(JOBS, json=READ)).json()
    runs = asyncio.create_task(hand.succeed_soon(job["id"], 0.8))
    answer = await client.get(f"{JOBS}/{job['id']}/events")
    await runs
    assert ": still here\n\n" in answer.text


async def test_a_stream_ends_with_the_server(client: httpx2.AsyncClient, gateway: Gateway) -> None:
    job = (await client.post(JOBS, json=READ)).json()
    gateway.draining = True
    assert told((await client.get(f"{JOBS}/{job['id']}/events")).text) == []
    assert gateway.streams.held == 0


async def test_streams_have_a_limit(client: httpx2.AsyncClient, gateway: Gateway) -> None:
    job = (await client.post(JOBS, json=READ)).json()
    while gateway.streams.take(""):
        pass
    assert gateway.streams.held == 200
    answer = await client.get(f"{JOBS}/{job['id']}/events")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/too-many-streams")
    assert answer.headers["retry-after"] == "5"


async def test_one_key_holds_its_share_of_streams_and_waits(control: Control) -> None:
    secrets = {name: f"{name}-0123456789abcdef0123456789abcdef" for name in ("greedy", "modest")}
    keys = tuple(f"{name}:{secret}:admin" for name, secret in secrets.items())
    gateway = make_gateway(control, api_keys=keys, max_streams_each=2, max_waits_each=2)
    async with client_of(gateway) as client:
        job = (await client.post(JOBS, json=READ, headers=bearer(secrets["greedy"]))).json()
        url = f"{JOBS}/{job['id']}"

        def ask(path: str, name: str) -> asyncio.Task[httpx2.Response]:
            return asyncio.create_task(client.get(path, headers=bearer(secrets[name])))

        # All at once: the place is counted before anything is awaited.
        streams = [ask(f"{url}/events", "greedy") for _ in range(6)]
        waits = [ask(f"{url}?wait=60", "greedy") for _ in range(6)]
        while sum(task.done() for task in streams + waits) < 8:
            await asyncio.sleep(0.01)
        assert [task.result().status_code for task in streams if task.done()] == [503] * 4
        assert [task.result().json()["status"] for task in waits if task.done()] == ["PENDING"] * 4, "not waited for"
        others = [ask(f"{url}/events", "modest"), ask(f"{url}?wait=60", "modest")]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in others), "another key has its own share"
        assert (gateway.streams.held, gateway.waits.held) == (3, 3)
        await client.post(f"{url}/cancel", headers=bearer(secrets["greedy"]))
        await asyncio.gather(*streams, *waits, *others)
        assert (gateway.streams.held, gateway.waits.held) == (0, 0)


async def test_a_stream_ends_after_its_longest_time(
    client: httpx2.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LONGEST", 0.2)
    job = (await client.post(JOBS, json=READ)).json()
    assert [block["event"] for block in told((await client.get(f"{JOBS}/{job['id']}/events")).text)] == ["status"]
    assert gateway.streams.held == 0


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def test_there_is_nothing_to_watch_of_nobody(client: httpx2.AsyncClient) -> None:
    assert (await client.get(f"{JOBS}/{NOBODY}/events")).status_code == 404


async def test_the_stream_stops_when_the_listener_leaves(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    job = (await client.post(JOBS, json=READ)).json()
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            left.set()

    scope = {"type": "http", "method": "GET", "path": f"{JOBS}/{job['id']}/events", "query_string": b"",
             "headers": [(b"host", b"127.0.0.1")], "asgi": {"spec_version": "2.3"}}  # fmt: skip
    async with asyncio.timeout(5):
        await gateway(scope, receive, send)
    assert gateway.streams.held == 0
