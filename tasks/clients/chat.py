"""A chat model behind any endpoint that speaks OpenAI's chat completions, whole or as it speaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import httpx2
import msgspec
from msgspec import Struct, field

from tasks.clients import bounded
from tasks.clients.refusal import broken, refused
from tasks.errors import FatalError, Retry

#: Seconds to be connected; how long an endpoint may be silent is the caller's to say.
_CONNECT = 10.0
#: Bytes of an answer, whole or in events; a token of a stream takes some 250.
MAX_ANSWER = 32 << 20
#: Bytes of an answer that refuses: its first words are told.
_MAX_REFUSAL = 64 << 10
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where a model is: `base_url` as in https://api.openai.com/v1, `timeout` the seconds that it may be silent."""

    base_url: str
    model: str
    key: str = ""
    timeout: float = 120.0

    @property
    def who(self) -> str:
        return f"the chat endpoint {self.base_url}"


class Usage(Struct, frozen=True):
    """Tokens, as the endpoint counts them."""

    prompt: int
    completion: int
    total: int


class ToolCall(Struct, frozen=True):
    """A function that the model wants called; `arguments` is the JSON text that it wrote, which may be none."""

    id: str
    name: str
    arguments: str


class Delta(Struct, frozen=True):
    """A piece of the text."""

    text: str


class Answer(Struct, frozen=True, kw_only=True):
    """What the model said. `usage` is None where the endpoint does not tell; `finish` is its word for why it ended.

    `annotations` are the message's, as they came: an endpoint that searches puts its sources there.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish: str = ""
    model: str = ""
    annotations: tuple[Any, ...] = ()


async def complete(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    *,
    temperature: float | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **options: Any,
) -> Answer:
    """The answer, once it is whole. `messages`, `tools` and `options` are the protocol's own.

    Raises Retry for what may pass (429, 5xx, silence, a cut connection; as late as Retry-After says), FatalError for
    what will not (401, 404, a wrong request), both with the endpoint's own words.
    """
    body = _body(endpoint, messages, {"temperature": temperature, "tools": tools, **options})
    async with _asked(endpoint, body) as answer:
        heard = _Hearing(endpoint)
        heard.take(await answer.aread())
        return heard.answer()


async def stream(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    *,
    temperature: float | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **options: Any,
) -> AsyncGenerator[Delta | Answer]:
    """The text in pieces as they come; the last item is the whole answer, with its usage. Raises as `complete`.

    Who may leave before the end wraps it in `contextlib.aclosing`.
    """
    asked = {"temperature": temperature, "tools": tools, "stream": True, "stream_options": {"include_usage": True}}
    async with _asked(endpoint, _body(endpoint, messages, {**asked, **options})) as answer:
        heard = _Hearing(endpoint)
        # A generator in truth: it must not be left in the middle of the connection.
        source = cast("AsyncGenerator[httpx2.ServerSentEvent]", aiter(httpx2.EventSource(answer)))
        async with aclosing(source) as events:
            async for event in events:
                if event.data == "[DONE]":
                    break
                for text in heard.take(event.data.encode()):
                    yield Delta(text)
        yield heard.answer()


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _Called(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function = field(default_factory=_Function)


class _Said(Struct):
    content: str | None = None
    tool_calls: list[_Called] | None = None
    annotations: list[Any] | None = None


class _Choice(Struct):
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _Count(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Reply(Struct):
    """A whole completion or one chunk of it."""

    choices: list[_Choice] | None = None
    usage: _Count | None = None
    model: str | None = None
    error: Any = None


class _Hearing:
    """Makes one answer of what an endpoint says, in one piece or in many."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._texts: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self._annotations: list[Any] = []
        self._usage: Usage | None = None
        self._finish = self._model = ""

    def take(self, piece: bytes) -> list[str]:
        """Hear a piece; the text in it."""
        try:
            reply = msgspec.json.decode(piece, type=_Reply)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise FatalError(f"{self._endpoint.who} does not speak OpenAI's chat completions: {error}") from error
        if reply.error:
            raise Retry(f"{self._endpoint.who} broke off: {_words(reply.error)}")
        if reply.usage is not None:
            count = reply.usage
            self._usage = Usage(count.prompt_tokens, count.completion_tokens, count.total_tokens)
        self._model = reply.model or self._model
        return [text for choice in (reply.choices or ())[:1] for text in self._choice(choice)]

    def answer(self) -> Answer:
        """All of it. Retry if the endpoint stopped in the middle."""
        if not self._finish:
            raise Retry(f"{self._endpoint.who} broke off in the middle of its answer")
        return Answer(
            text="".join(self._texts),
            tool_calls=tuple(ToolCall(*self._calls[index]) for index in sorted(self._calls)),
            usage=self._usage,
            finish=self._finish,
            model=self._model,
            annotations=tuple(self._annotations),
        )

    def _choice(self, choice: _Choice) -> list[str]:
        said = choice.message or choice.delta or _Said()
        for position, called in enumerate(said.tool_calls or ()):
            self._call(position if called.index is None else called.index, called)
        self._annotations.extend(said.annotations or ())
        self._finish = choice.finish_reason or self._finish
        texts = [said.content] if said.content else []
        self._texts.extend(texts)
        return texts

    def _call(self, index: int, called: _Called) -> None:
        call = self._calls.setdefault(index, ["", "", ""])
        call[0] = called.id or call[0]
        call[1] += called.function.name or ""
        call[2] += called.function.arguments or ""


def _body(endpoint: Endpoint, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None}
    return {"model": endpoint.model, "messages": list(messages), **given}


def _words(error: Any) -> str:
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


@asynccontextmanager
async def _asked(endpoint: Endpoint, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
    """A successful answer whose body is still to come; whatever goes wrong with it meanwhile is told as ours."""
    try:
        url = httpx2.URL(f"{endpoint.base_url.rstrip('/')}/chat/completions")
        headers = bounded.PLAIN | ({"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {})
        timeout = httpx2.Timeout(endpoint.timeout, connect=_CONNECT)
        # A proxy of the environment's is for the world outside, not for this machine.
        client = httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=url.host not in _HERE)
        async with client, client.stream("POST", url, json=body) as answer:
            if not answer.is_success:
                bounded.limit(answer, _MAX_REFUSAL, cut=True)
                await answer.aread()
                raise refused(endpoint.who, answer, endpoint.key)
            bounded.limit(answer, MAX_ANSWER)
            yield answer
    except bounded.AnswerTooLarge as error:
        raise bounded.AnswerTooLarge(f"{endpoint.who}: {error.detail}") from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.SSEError) as error:
        raise FatalError(f"{endpoint.who} is none: {error}") from error
    except (httpx2.LocalProtocolError, UnicodeEncodeError):
        # Its words would hold the key.
        raise FatalError(f"the key of {endpoint.who} holds what no HTTP header takes") from None
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise broken(endpoint.who, error) from error
