"""What stands in platforms' answers, whose pages they cite, and what they cost; nothing is asked here."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tasks.errors import ConfigurationError
from tasks.packs.citations import record
from tasks.packs.citations.asking import address
from tasks.packs.citations.host import domain_of, host_of, page_of
from tasks.packs.citations.platforms import PLATFORMS, Access, Answer, PlatformFailed, Source
from tasks.packs.citations.settings import check
from tests.packs.citations_support import settings_of


@pytest.mark.parametrize(
    ("name", "reply", "urls"),
    [
        (
            "compatible",
            {"choices": [{"message": {"content": "x"}}], "citations": ["https://a.example/1"]},
            ["a.example"],
        ),
        (
            "compatible",
            {"choices": [{"message": {"content": "x"}}], "citations": [{"url": "https://b.example/"}]},
            ["b.example"],
        ),
        (
            "compatible",
            {"choices": [{"message": {"content": "x"}}], "search_results": [{"url": "https://c.example/"}]},
            ["c.example"],
        ),
        (
            "compatible",
            {"choices": [{"message": {"content": "See [it](https://d.example/x), or https://e.example/y."}}]},
            ["d.example", "e.example"],
        ),
        (
            "anthropic",
            {
                "content": [
                    {"type": "web_search_tool_result", "content": [{"url": "https://f.example/", "title": "F"}]},
                    {"type": "text", "text": "x", "citations": None},
                ]
            },
            ["f.example"],
        ),
        (
            "you",
            {"answer": "x", "citations": [], "results": {"web": [{"url": "https://g.example/"}]}},
            ["g.example"],
        ),
    ],
)
def test_sources_are_found_wherever_a_platform_names_them(name: str, reply: Any, urls: list[str]) -> None:
    platform = PLATFORMS[name]
    answer = platform.read(msgspec.convert(reply, platform.reply))
    assert [host_of(source.url) for source in answer.sources] == urls


@pytest.mark.parametrize(
    ("name", "reply", "words"),
    [
        (
            "anthropic",
            {"content": [{"type": "web_search_tool_result", "content": {"error_code": "unavailable"}}]},
            "unavailable",
        ),
        ("anthropic", {"content": [], "stop_reason": "pause_turn"}, "pause_turn"),
        ("gemini", {"promptFeedback": {"blockReason": "SAFETY"}}, "SAFETY"),
        ("openai", {"status": "failed", "error": {"message": "out of luck"}}, "out of luck"),
        ("compatible", {"choices": []}, "choices"),
    ],
)
def test_an_answer_that_is_none_says_why(name: str, reply: Any, words: str) -> None:
    platform = PLATFORMS[name]
    with pytest.raises(PlatformFailed, match=words):
        platform.read(msgspec.convert(reply, platform.reply))


def test_each_page_counts_once_where_it_stood_first() -> None:
    places = [
        "https://Shop.Example:443/a?utm_source=openai#top",
        "ftp://shop.example/file",
        "https://shop.example/a",
        "javascript:alert(1)",
        "https://shop.example:8443/a",
        "http://[::1",
        "https://北风.example/",
    ]
    rows = record.citations_of(Answer(text="x", sources=[Source(place) for place in places]))
    assert [(row["position"], row["url"], row["host"]) for row in rows] == [
        (1, places[0], "shop.example"),
        (2, places[4], "shop.example"),
        (3, places[6], "xn--djr653n.example"),
    ]


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Example.COM.", "example.com"),
        ("北风.example", "xn--djr653n.example"),
        ("https://example.com", None),
        ("example.com/path", None),
        ("example", None),
        ("a_b.example", None),
        ("*.example.com", None),
        ("a..example", None),
        ("", None),
        ("x" * 64 + ".example", None),
    ],
)
def test_a_domain_is_a_name_and_nothing_else(text: str, domain: str | None) -> None:
    assert domain_of(text) == domain


def test_addresses_of_one_page() -> None:
    assert page_of("https://a.example") == page_of("http://A.example:80/?utm_medium=x")
    assert page_of("https://a.example/?p=1") != page_of("https://a.example/?p=2")


def test_the_base_address_may_have_the_version() -> None:
    assert address("https://x.example/v1/", "/v1/responses") == "https://x.example/v1/responses"
    assert address("https://x.example/v1beta", "/v1beta/models/m:go") == "https://x.example/v1beta/models/m:go"
    assert address("https://x.example/api/v3", "/chat/completions") == "https://x.example/api/v3/chat/completions"


def test_what_a_question_costs() -> None:
    prices = Access(key="k", base_url="https://x.example", prices=(2.5, 10.0, 0.01))
    answer = Answer(text="x", tokens_read=1000, tokens_written=200, searches=2)
    assert record.cost_micros(answer, prices) == 2_500 + 2_000 + 20_000
    assert record.cost_micros(msgspec.structs.replace(answer, cost=0.005), prices) == 5_000
    assert record.cost_micros(answer, msgspec.structs.replace(prices, prices=())) is None


@pytest.mark.parametrize(
    ("brand", "text", "named"),
    [
        ("Northwind", "NORTHWIND leads.", True),
        ("Northwind", "Northwinds and notnorthwind lead.", False),
        ("北风", "小企业用北风客户管理", True),
        ("", "anything", False),
    ],
)
def test_a_brand_is_named_as_a_word(brand: str, text: str, named: bool) -> None:
    assert record.names(brand, text) is named


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OPENAI_RATE_LIMIT", "often"), ("OPENAI_PRICES", "1,2"), ("OPENAI_PRICES", "1,2,-3"), ("CITATIONS_TRIES", "0")],
)
def test_a_wrong_setting_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        check(settings_of({"OPENAI_API_KEY": "k", variable: value}))
