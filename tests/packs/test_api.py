"""Calls to APIs outside: what is tried again, how soon, and what is not called at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from executors.environment import read
from tasks import FatalError, Retry
from tasks.clients.web import Answer
from tasks.errors import ConfigurationError
from tasks.packs import api
from tasks.packs.api import calls
from tasks.testing import Recorder
from tests.support.outside import Outside, outside


@pytest.fixture(scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with outside(tmp_path_factory.mktemp("outside")) as world:
        yield world


@pytest.fixture
def world(_world: Outside) -> Outside:
    _world.reset()
    configure(API_ALLOW=f"127.0.0.1:{_world.port}", API_RETRY_WAIT="2", API_PATIENCE="60", API_MAX_BYTES="4096")
    return _world


def configure(**environment: str) -> None:
    api.API.configure(read(api.API.kind, api.API.variables, environment))


async def call(method: str, url: str, attempt: int = 1, **options: Any) -> Any:
    return await api.call_external_api.function(Recorder("job-1", attempt).context, method, url, **options)


async def test_a_request_is_what_was_asked_for(world: Outside) -> None:
    sent = await call(
        "post",
        f"{world.url}/echo",
        json={"a": 1},
        params={"page": 2, "q": "a b"},
        headers={"Authorization": "Bearer k"},
    )
    heard = sent.json
    assert (sent.status, sent.text, heard["method"], heard["body"]) == (200, None, "POST", '{"a":1}')
    assert sent.url == f"{world.url}/echo?page=2&q=a+b"
    assert heard["headers"]["content-type"] == "application/json"
    assert heard["headers"]["authorization"] == "Bearer k"
    assert heard["headers"]["idempotency-key"] == "job-1"
    read_only = await call("GET", f"{world.url}/echo")
    assert "idempotency-key" not in read_only.json["headers"]
    assert (await call("PUT", f"{world.url}/echo", data="text")).json["body"] == "text"
    with pytest.raises(FatalError, match="not both"):
        await call("PUT", f"{world.url}/echo", data="text", json=1)


@pytest.mark.parametrize(("status", "asked", "attempt", "wait"), [
    (429, "7", 1, 7), (503, "1", 1, 2), (503, "", 3, 8), (500, "", 9, 60), (429, "600", 1, 60), (408, "", 1, 2),
])  # fmt: skip
async def test_what_may_pass_is_tried_again_when_it_is_time(
    world: Outside, status: int, asked: str, attempt: int, wait: float
) -> None:
    with pytest.raises(Retry, match=f"answered {status}") as raised:
        await call("GET", f"{world.url}/status/{status}?retry_after={asked}", attempt)
    assert raised.value.countdown == wait


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_what_will_not_pass_is_told_with_their_words(world: Outside, status: int) -> None:
    with pytest.raises(FatalError, match=rf"answered {status}.*said"):
        await call("GET", f"{world.url}/status/{status}")
    assert len(world.calls) == 1


async def test_silence_is_tried_again_and_what_is_not_public_is_not_called(world: Outside) -> None:
    with pytest.raises(Retry, match="within"):
        await call("GET", f"{world.url}/slow", timeout=0.2)
    with pytest.raises(FatalError, match="not a public address"):
        await call("GET", f"http://127.0.0.2:{world.port}/echo")
    with pytest.raises(FatalError, match="more than 4096"):
        await call("GET", f"{world.url}/large/8192")
    assert (await call("GET", f"{world.url}/large/2048")).text == "x" * 2048


async def test_json_is_fetched_and_posted(world: Outside) -> None:
    context = Recorder("job-1").context
    assert (await api.fetch_json.function(context, f"{world.url}/echo"))["method"] == "GET"
    assert (await api.post_json.function(context, f"{world.url}/echo", [1]))["body"] == "[1]"
    with pytest.raises(FatalError, match="no JSON"):
        await api.fetch_json.function(context, f"{world.url}/large/1024")


def test_json_too_deep_to_read_is_text() -> None:
    body = b"[" * 100_000
    reply = calls._reply(Answer(status=200, url="https://there.example/", headers={}, body=body))
    assert (reply.json, reply.text) == (None, body.decode())


def test_wrong_settings_name_their_variable() -> None:
    with pytest.raises(ConfigurationError, match="API_ALLOW"):
        configure(API_ALLOW="http://inside.example")
    with pytest.raises(ConfigurationError, match="API_TIMEOUT"):
        configure(API_TIMEOUT="never")
