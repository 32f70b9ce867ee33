"""The chat client against an endpoint of OpenAI's kind, well and ill."""

from __future__ import annotations

import socket
import time
from contextlib import aclosing
from email.utils import formatdate
from typing import Any

import httpx2
import pytest

from tasks.clients import chat, refusal
from tasks.clients.chat import Answer, Delta, Endpoint
from tasks.errors import FatalError, Retry
from tests.support.answers import AnswerEngines

QUESTION = [{"role": "user", "content": "What is the best CRM for small businesses?"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"name": "weather", "arguments": {"place": "Oslo"}}


def endpoint_of(answers: AnswerEngines, **fields: Any) -> Endpoint:
    return Endpoint(**{"base_url": f"{answers.url('openai')}/v1", "model": "small", "key": answers.key, **fields})


async def ask(endpoint: Endpoint, streamed: bool, **options: Any) -> Answer:
    """The answer in either way; the pieces must be the whole."""
    if not streamed:
        return await chat.complete(endpoint, QUESTION, **options)
    async with aclosing(chat.stream(endpoint, QUESTION, **options)) as parts:
        *pieces, answer = [part async for part in parts]
    assert isinstance(answer, Answer)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == answer.text
    return answer


either_way = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@either_way
async def test_an_answer_with_its_usage(answers: AnswerEngines, streamed: bool) -> None:
    answer = await ask(endpoint_of(answers), streamed, temperature=0.3)
    assert "CRM" in answer.text
    assert answer.usage is not None
    assert answer.usage.total == answer.usage.prompt + answer.usage.completion > 10
    assert (answer.finish, answer.model, answer.annotations) == ("stop", "small", ())
    (call,) = answers.calls("openai")
    assert (call.body["temperature"], call.body["messages"]) == (0.3, QUESTION)


@either_way
async def test_the_models_call_of_a_tool(answers: AnswerEngines, streamed: bool) -> None:
    answers.switch("openai", tool=CALL)
    answer = await ask(endpoint_of(answers), streamed, tools=[WEATHER])
    (called,) = answer.tool_calls
    assert (called.name, called.arguments, answer.finish) == ("weather", '{"place": "Oslo"}', "tool_calls")
    assert called.id


@either_way
async def test_sources_and_other_options_go_through(answers: AnswerEngines, streamed: bool) -> None:
    answer = await ask(endpoint_of(answers), streamed, web_search_options={})
    assert {source["type"] for source in answer.annotations} == {"url_citation"}


@either_way
@pytest.mark.parametrize(
    ("behaviour", "error", "words", "countdown"),
    [
        ({"status": 400}, FatalError, "answered 400: The test asked for 400.", None),
        ({"status": 403}, FatalError, "answered 403", None),
        ({"status": 404}, FatalError, "answered 404", None),
        ({"status": 429, "retry_after": 7}, Retry, "answered 429: The test asked for 429.", 7),
        ({"status": 500}, Retry, "answered 500", None),
        ({"status": 503, "retry_after": 2}, Retry, "answered 503", 2),
        ({"cut": True}, Retry, "broke off", None),
        ({"delay": 5}, Retry, "silent for too long", None),
    ],
    ids=str,
)
async def test_what_may_pass_and_what_will_not(
    answers: AnswerEngines, behaviour: Any, error: type[Exception], words: str, countdown: float | None, streamed: bool
) -> None:
    answers.switch("openai", **behaviour)
    with pytest.raises(error, match=words) as raised:
        await ask(endpoint_of(answers, timeout=0.2 if "delay" in behaviour else 20), streamed)
    assert getattr(raised.value, "countdown", None) == countdown


@either_way
async def test_a_wrong_key_is_told_and_not_shown(answers: AnswerEngines, streamed: bool) -> None:
    with pytest.raises(FatalError, match="answered 401: Incorrect API key provided"):
        await ask(endpoint_of(answers, key="wrong"), streamed)
    with pytest.raises(FatalError, match="no HTTP header takes") as raised:
        await ask(endpoint_of(answers, key="sec\nret"), streamed)
    assert "ret" not in str(raised.value).partition("holds")[0].replace("endpoint", "")
    said = httpx2.Response(401, json={"error": {"message": "key sec-ret is wrong"}})
    assert str(refusal.refused("it", said, "sec-ret")) == "it answered 401: key … is wrong"


@either_way
async def test_nobody_there_and_no_address(answers: AnswerEngines, streamed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(Retry, match="was not reached"):
        await ask(endpoint_of(answers, base_url=f"http://127.0.0.1:{port}/v1"), streamed)
    for nonsense in ("localhost", "ftp://127.0.0.1/v1", ""):
        with pytest.raises(FatalError, match="is none"):
            await ask(endpoint_of(answers, base_url=nonsense), streamed)


async def test_a_proxy_of_the_environment_is_for_the_world_outside(
    answers: AnswerEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert (await ask(endpoint_of(answers), False)).text


async def test_who_leaves_early_hangs_up(answers: AnswerEngines) -> None:
    async with aclosing(chat.stream(endpoint_of(answers), QUESTION)) as parts:
        async for part in parts:
            assert isinstance(part, Delta)
            break


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("Bad gateway", "Bad gateway"),
        ('{"error": "out of order"}', "out of order"),
        ('{"detail": [{"message": "no model"}]}', "no model"),
        ('{"error": {"message": "too long", "type": "x"}}', "too long"),
        ("\x80", "\x80"),
        ("[" * 100_000, "[" * 499 + "…"),
        ("", ""),
    ],
)
def test_the_vendors_own_words(body: str, words: str) -> None:
    assert refusal.told(httpx2.Response(500, text=body)) == words


@pytest.mark.parametrize(("value", "seconds"), [("3", 3), ("1.5", 1.5), ("999999999", 86_400)])
def test_retry_after_is_seconds(value: str, seconds: float) -> None:
    assert refusal.retry_after({"retry-after": value}) == seconds


def test_retry_after_is_a_date() -> None:
    wait = refusal.retry_after({"retry-after": formatdate(time.time() + 3600, usegmt=True)})
    assert wait is not None
    assert 0 < wait <= 3600


@pytest.mark.parametrize("value", ["", "soon", "-5", "1 2", "nan"])
def test_retry_after_may_be_nonsense(value: str) -> None:
    assert refusal.retry_after({"retry-after": value}) is None
