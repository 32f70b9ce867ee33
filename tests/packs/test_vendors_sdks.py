"""The vendors' own clients, unmodified, against our answer engines: what they understand is the vendors' protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import perplexity
import pytest
from google import genai
from google.genai import errors, types

from tests.support.answers import PAGES, AnswerEngines, search

QUESTION = "What is the best CRM for small businesses?"
#: The pages that the answer must cite, in this order.
PLACES = [page.url for page in search(QUESTION)]


def openai_with(answers: AnswerEngines, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{answers.url('openai')}/v1", api_key=key, max_retries=0)


def anthropic_with(answers: AnswerEngines, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=answers.url("anthropic"), api_key=key, max_retries=0)


def perplexity_with(answers: AnswerEngines, key: str) -> perplexity.Perplexity:
    return perplexity.Perplexity(base_url=answers.url("perplexity"), api_key=key, max_retries=0)


def gemini_with(answers: AnswerEngines, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=answers.url("gemini")))


@pytest.fixture
def openai_client(answers: AnswerEngines) -> Iterator[openai.OpenAI]:
    with openai_with(answers, answers.key) as client:
        yield client


@pytest.fixture
def anthropic_client(answers: AnswerEngines) -> Iterator[anthropic.Anthropic]:
    with anthropic_with(answers, answers.key) as client:
        yield client


@pytest.fixture
def perplexity_client(answers: AnswerEngines) -> Iterator[perplexity.Perplexity]:
    with perplexity_with(answers, answers.key) as client:
        yield client


@pytest.fixture
def gemini_client(answers: AnswerEngines) -> Iterator[genai.Client]:
    with gemini_with(answers, answers.key) as client:
        yield client


def ask_chat(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(
        model="gpt-5-search-api", messages=[{"role": "user", "content": QUESTION}], web_search_options={}
    )


def ask_responses(client: openai.OpenAI) -> Any:
    return client.responses.create(model="gpt-5", input=QUESTION, tools=[{"type": "web_search"}])


def ask_anthropic(client: anthropic.Anthropic) -> Any:
    return client.messages.create(
        model="claude-sonnet-5",
        max_tokens=500,
        messages=[{"role": "user", "content": QUESTION}],
        tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}],
    )


def ask_perplexity(client: perplexity.Perplexity) -> Any:
    return client.responses.create(model="perplexity/sonar", input=QUESTION, tools=[{"type": "web_search"}])


def ask_gemini(client: genai.Client) -> Any:
    search_tool = types.Tool(google_search=types.GoogleSearch())
    config = types.GenerateContentConfig(tools=[search_tool])
    return client.models.generate_content(model="gemini-3-flash", contents=QUESTION, config=config)


def test_chat_cites_its_sources(openai_client: openai.OpenAI) -> None:
    completion = ask_chat(openai_client)
    message = completion.choices[0].message
    citations = [annotation.url_citation for annotation in message.annotations]
    assert [citation.url for citation in citations] == PLACES
    texts = {page.url: page.text for page in PAGES}
    assert all(message.content[note.start_index : note.end_index] == texts[note.url] for note in citations)
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 20


def test_chat_without_search_cites_nothing(openai_client: openai.OpenAI) -> None:
    completion = openai_client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": QUESTION}])
    assert completion.choices[0].message.content
    assert not completion.choices[0].message.annotations


def test_chat_streams_with_usage(openai_client: openai.OpenAI) -> None:
    whole = ask_chat(openai_client)
    chunks = list(
        openai_client.chat.completions.create(
            model="gpt-5-search-api",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    said = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert len(said) > 10
    assert "".join(said) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_chat_calls_a_tool_and_takes_its_result(answers: AnswerEngines, openai_client: openai.OpenAI) -> None:
    answers.switch("openai", tool={"name": "look_up", "arguments": {"id": 7}}, times=1)
    said: list[Any] = [{"role": "user", "content": "Look up number 7."}]
    tools: list[Any] = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    message = openai_client.chat.completions.create(model="gpt-5", messages=said, tools=tools).choices[0].message
    assert message.tool_calls
    call: Any = message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("look_up", '{"id": 7}')
    said += [message, {"role": "tool", "tool_call_id": call.id, "content": "seven"}]
    answer = openai_client.chat.completions.create(model="gpt-5", messages=said, tools=tools).choices[0]
    assert (answer.message.content, answer.finish_reason) == ("The tool says: seven", "stop")


def test_responses_cite_their_sources(openai_client: openai.OpenAI) -> None:
    response = ask_responses(openai_client)
    assert [item.type for item in response.output] == ["web_search_call", "message"]
    assert [note.url for note in response.output[1].content[0].annotations] == PLACES
    assert response.output_text == response.output[1].content[0].text
    assert response.usage.output_tokens > 20


def test_responses_stream(openai_client: openai.OpenAI) -> None:
    with openai_client.responses.stream(model="gpt-5", input=QUESTION, tools=[{"type": "web_search"}]) as stream:
        said = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().output_text == "".join(said)
    assert len(said) > 10


def test_messages_cite_their_sources(anthropic_client: anthropic.Anthropic) -> None:
    message = ask_anthropic(anthropic_client)
    (results,) = [block for block in message.content if block.type == "web_search_tool_result"]
    assert [result.url for result in results.content] == PLACES
    notes = [note for block in message.content if block.type == "text" for note in block.citations or ()]
    assert [note.url for note in notes] == PLACES
    assert message.usage.server_tool_use.web_search_requests == 1


def test_gemini_cites_by_redirects(gemini_client: genai.Client) -> None:
    answer = ask_gemini(gemini_client)
    grounding = answer.candidates[0].grounding_metadata
    places = [httpx2.get(chunk.web.uri).headers["location"] for chunk in grounding.grounding_chunks]
    assert places == PLACES
    assert grounding.grounding_chunks[0].web.title in places[0].lower()
    assert answer.text.encode()[: grounding.grounding_supports[0].segment.end_index].decode() in answer.text
    assert answer.usage_metadata.total_token_count > 20


def test_agent_cites_its_sources(perplexity_client: perplexity.Perplexity) -> None:
    response = ask_perplexity(perplexity_client)
    (found,) = [item for item in response.output if item.type == "search_results"]
    assert [result.url for result in found.results] == PLACES
    assert response.output_text
    assert response.usage.cost.total_cost > 0.005


def test_agent_may_fail_with_http_200(answers: AnswerEngines, perplexity_client: perplexity.Perplexity) -> None:
    answers.switch("perplexity", failed=True)
    response = ask_perplexity(perplexity_client)
    assert (response.status, response.output) == ("failed", [])
    assert "search backend" in response.error.message


#: A vendor, how to make a client with a key, what to ask it, its error for a wrong key and for too many requests.
REFUSALS: list[Any] = [
    pytest.param("openai", openai_with, ask_chat, openai.AuthenticationError, openai.RateLimitError, id="chat"),
    pytest.param(
        "openai", openai_with, ask_responses, openai.AuthenticationError, openai.RateLimitError, id="responses"
    ),
    ("anthropic", anthropic_with, ask_anthropic, anthropic.AuthenticationError, anthropic.RateLimitError),
    ("perplexity", perplexity_with, ask_perplexity, perplexity.AuthenticationError, perplexity.RateLimitError),
    ("gemini", gemini_with, ask_gemini, errors.ClientError, errors.ClientError),
]


@pytest.mark.parametrize(("vendor", "make", "ask", "_unknown", "_busy"), REFUSALS)
def test_an_answer_is_whole_by_the_vendors_own_types(
    answers: AnswerEngines, vendor: str, make: Any, ask: Any, _unknown: type[Exception], _busy: type[Exception]
) -> None:
    """The clients take what they get; their models, asked to check it, do not."""
    with make(answers, answers.key) as client:
        answer = ask(client)
    type(answer).model_validate(answer.model_dump(by_alias=True, exclude_unset=True, warnings="error"))
    assert answers.calls(vendor)[0].headers["user-agent"]


@pytest.mark.parametrize(("vendor", "make", "ask", "unknown", "_busy"), REFUSALS)
def test_a_wrong_key_is_refused(
    answers: AnswerEngines, vendor: str, make: Any, ask: Any, unknown: type[Exception], _busy: type[Exception]
) -> None:
    with make(answers, "wrong") as client, pytest.raises(unknown) as caught:
        ask(client)
    assert (getattr(caught.value, "status_code", None) or caught.value.code) == (400 if vendor == "gemini" else 401)
    assert "key" in str(caught.value).lower()


@pytest.mark.parametrize(("vendor", "make", "ask", "_unknown", "busy"), REFUSALS)
def test_too_many_requests_say_how_long_to_wait(
    answers: AnswerEngines, vendor: str, make: Any, ask: Any, _unknown: type[Exception], busy: type[Exception]
) -> None:
    answers.switch(vendor, status=429, retry_after=7, times=1)
    with make(answers, answers.key) as client:
        with pytest.raises(busy) as caught:
            ask(client)
        assert (getattr(caught.value, "status_code", None) or caught.value.code) == 429
        if vendor == "gemini":
            assert caught.value.details["error"]["details"][0]["retryDelay"] == "7s"
        else:
            assert caught.value.response.headers["retry-after"] == "7"
        ask(client)
    assert len(answers.calls(vendor)) == 2


def test_a_connection_cut_in_the_middle_is_an_error(answers: AnswerEngines, openai_client: openai.OpenAI) -> None:
    answers.switch("openai", cut=True)
    with pytest.raises(openai.APIConnectionError):
        ask_chat(openai_client)


def test_an_empty_answer_has_no_sources(answers: AnswerEngines, anthropic_client: anthropic.Anthropic) -> None:
    answers.switch("anthropic", empty=True)
    message = ask_anthropic(anthropic_client)
    assert [block for block in message.content if block.type == "text"] == []


def test_an_answer_may_be_slow(answers: AnswerEngines, perplexity_client: perplexity.Perplexity) -> None:
    answers.switch("perplexity", delay=30)
    with pytest.raises(perplexity.APITimeoutError):
        ask_perplexity(perplexity_client.with_options(timeout=0.2))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("perplexity/v1/agent", {"model": "perplexity/sonar", "input": QUESTION, "search_mode": "web"}, 400),
        ("openai/v1/chat/completions", {"model": "gpt-5", "messages": [{"role": "user"}], "citations": 1}, 400),
        ("anthropic/v1/messages", {"model": "claude", "messages": [{}], "max_tokens": 5, "citations": True}, 400),
        ("gemini/v1beta/models/gemini-3-flash:generateContent", {"contents": [{}], "grounding": True}, 400),
        ("you/v1/answer", {"query": "?" * 401}, 422),
    ],
)
def test_what_a_vendor_refuses(answers: AnswerEngines, path: str, body: dict[str, Any], status: int) -> None:
    vendor, _, rest = path.partition("/")
    keys = {"authorization": f"Bearer {answers.key}", "x-api-key": answers.key, "x-goog-api-key": answers.key}
    reply = httpx2.post(f"{answers.url(vendor)}/{rest}", json=body, headers={**keys, "anthropic-version": "2023-06-01"})
    assert reply.status_code == status, reply.text
    assert answers.calls(vendor)[0].body == body


def test_you_answers_with_citations(answers: AnswerEngines) -> None:
    """There is no client of the vendor's for this: the shape is the one it documents."""
    reply = httpx2.post(
        f"{answers.url('you')}/v1/answer", json={"query": QUESTION}, headers={"X-API-Key": answers.key}
    ).json()
    assert [citation["source"] for citation in reply["citations"]] == PLACES
    assert [page["url"] for page in reply["results"]["web"]] == PLACES
    assert reply["answer"]
