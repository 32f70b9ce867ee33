"""Every platform against the answer engines: what it says is understood, and what fails is told in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec import structs

from tasks.packs.citations import pace
from tasks.packs.citations.asking import Asking, connect
from tasks.packs.citations.platforms import PLATFORMS, Answer, PlatformFailed, Source
from tasks.packs.citations.settings import access
from tasks.packs.citations.tables import DATABASE
from tests.packs.citations_support import PLACES, QUESTION, settings_of, variables
from tests.support.answers import AnswerEngines

ALL = pytest.mark.parametrize("name", PLATFORMS)


def vendor(name: str) -> str:
    return "openai" if name == "compatible" else name


@pytest.fixture(autouse=True)
async def _tables(tmp_path: Path) -> AsyncIterator[None]:
    DATABASE.configure(f"sqlite:///{tmp_path}/packs.db")
    await DATABASE.create()
    yield
    await DATABASE.close()


async def ask(answers: AnswerEngines, name: str, question: str = QUESTION, **other: str) -> Answer:
    settings = settings_of({**variables(answers), **other})
    reached = access(settings, name)
    assert reached is not None
    async with connect(settings) as http:
        return await Asking(PLATFORMS[name], reached, settings, http).answer(question)


async def fails(answers: AnswerEngines, name: str, **other: str) -> PlatformFailed:
    with pytest.raises(PlatformFailed) as caught:
        await ask(answers, name, **other)
    return caught.value


@ALL
async def test_an_answer_has_its_sources_in_order(answers: AnswerEngines, name: str) -> None:
    answer = await ask(answers, name)
    assert [source.url for source in answer.sources] == PLACES
    assert answer.text
    assert answer.searches >= 1
    if name != "you":  # which counts no tokens
        assert answer.tokens_read is not None
        assert answer.tokens_written is not None
        assert answer.tokens_written > 20
    assert (answer.cost is not None) == (name == "perplexity")


@ALL
async def test_a_refused_key_is_told_once_and_kept_secret(answers: AnswerEngines, name: str) -> None:
    failure = await fails(answers, name, **{f"{name.upper()}_API_KEY": "not-the-key"})
    assert failure.lasting
    assert "key" in failure.words
    assert "not-the-key" not in failure.words
    assert len(answers.calls(vendor(name))) == 1


@ALL
async def test_a_platform_that_asks_for_patience_is_left_alone(answers: AnswerEngines, name: str) -> None:
    answers.switch(vendor(name), status=429, retry_after=70, times=1)
    failure = await fails(answers, name)
    assert (failure.lasting, failure.retry_after) == (False, 70)
    # By everybody: it is well again, and is not asked.
    failure = await fails(answers, name)
    assert failure.retry_after is not None
    assert 60 < failure.retry_after <= 70
    assert len(answers.calls(vendor(name))) == 1


@pytest.mark.parametrize("name", ["perplexity", "gemini"])  # by header, in the body
async def test_a_short_wait_is_waited_for(answers: AnswerEngines, name: str) -> None:
    answers.switch(name, status=429, retry_after=1, times=1)
    clock = asyncio.get_running_loop().time
    begin = clock()
    assert (await ask(answers, name)).sources
    assert clock() - begin >= 0.99
    assert len(answers.calls(name)) == 2


@ALL
async def test_a_passing_fault_passes(answers: AnswerEngines, name: str) -> None:
    answers.switch(vendor(name), status=500, times=2)
    assert [source.url for source in (await ask(answers, name)).sources] == PLACES
    assert len(answers.calls(vendor(name))) == 3


@ALL
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [({"status": 500}, "500"), ({"cut": True}, "broke off"), ({"empty": True}, "empty")],
    ids=["error", "cut", "empty"],
)
async def test_what_does_not_pass_is_told_after_three_tries(
    answers: AnswerEngines, name: str, behaviour: dict[str, Any], words: str
) -> None:
    answers.switch(vendor(name), **behaviour)
    failure = await fails(answers, name)
    assert words in failure.words
    assert not failure.lasting
    assert len(answers.calls(vendor(name))) == 3


@ALL
async def test_a_slow_platform_is_not_waited_for(answers: AnswerEngines, name: str) -> None:
    answers.switch(vendor(name), delay=60)
    failure = await fails(answers, name, CITATIONS_TIMEOUT="0.1", CITATIONS_TRIES="1")
    assert "no answer within 0.1 s" in failure.words


async def test_a_run_may_fail_with_http_200(answers: AnswerEngines) -> None:
    answers.switch("perplexity", failed=True)
    assert "no search backend answered" in (await fails(answers, "perplexity")).words


async def test_a_platform_that_is_not_there(answers: AnswerEngines) -> None:
    failure = await fails(answers, "openai", OPENAI_BASE_URL="http://127.0.0.1:9/")
    assert "was not reached" in failure.words
    assert not failure.lasting


@pytest.mark.parametrize("key", ["sécrète", "secret\nkey"])
async def test_a_key_that_no_header_takes_is_not_shown(answers: AnswerEngines, key: str) -> None:
    reached = access(settings_of(variables(answers)), "openai")
    assert reached is not None
    with pytest.raises(PlatformFailed) as caught:
        async with connect(settings := settings_of(variables(answers))) as http:
            await Asking(PLATFORMS["openai"], structs.replace(reached, key=key), settings, http).answer(QUESTION)
    assert (caught.value.words, caught.value.lasting) == ("its key holds what no HTTP header takes", True)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("place", "title", "url"),
    [
        ("https://there.example/a", "there.example", "https://there.example/a"),
        ("https://[there/", "there.example", "https://there.example/"),
        ("https://[there/", "What they say", None),
        (None, "There.example", "https://there.example/"),
        (None, "What they say", None),
    ],
)
async def test_where_a_redirect_leads(answers: AnswerEngines, place: str | None, title: str, url: str | None) -> None:
    settings = settings_of(variables(answers))
    reached = access(settings, "gemini")
    assert reached is not None
    headers = {} if place is None else {"location": place}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(302, headers=headers))
    redirect = PLATFORMS["gemini"].redirect
    assert redirect
    source = Source(f"https://vertexaisearch.cloud.google.com{redirect}x", title)
    async with httpx2.AsyncClient(transport=transport) as http:
        asking = Asking(PLATFORMS["gemini"], reached, settings, http)
        assert (await asking._led(source)).url == (url or source.url)
        broken = Source("https://[there/", title)
        assert await asking._led(broken) == broken


async def test_a_question_that_a_platform_does_not_take_is_not_sent(answers: AnswerEngines) -> None:
    with pytest.raises(PlatformFailed, match="at most 400 characters") as caught:
        await ask(answers, "you", "?" * 401)
    assert caught.value.lasting
    assert answers.calls("you") == []


async def test_questions_keep_their_distance_in_all_processes() -> None:
    """Of many that come at once each gets a moment of its own, or is told how long it would be."""
    await pace.turn("you", 60_000, 0)
    with pytest.raises(PlatformFailed) as caught:
        await pace.turn("you", 60_000, 30)
    assert caught.value.retry_after is not None
    assert 55 < caught.value.retry_after <= 60
    clock = asyncio.get_running_loop().time
    begin, moments = clock(), []

    async def come() -> None:
        await pace.turn("openai", 50, 30)
        moments.append(clock() - begin)

    await asyncio.gather(*(come() for _ in range(5)))
    # The table counts in whole milliseconds, and two clocks are compared.
    assert all(moment >= 0.05 * number - 0.005 for number, moment in enumerate(sorted(moments)))
