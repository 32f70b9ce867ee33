"""The tasks: a request to an address that the caller names, tried again where that may help."""

from __future__ import annotations

from typing import Annotated, Any

import httpx2
import msgspec
from msgspec import Meta, Struct

from tasks import Context, FatalError, Retry, task
from tasks.clients import web
from tasks.clients.web import Answer, Call, Rules
from tasks.errors import printable
from tasks.packs.api.settings import API

#: Answers below 500 that another time may change.
_PASSING = (408, 425, 429)
#: Characters of an answer that are told with an error.
_WORDS = 500
_JSON = "application/json"

Method = Annotated[str, Meta(pattern=r"\A(?i:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)\Z", examples=["GET"])]
Url = Annotated[str, Meta(pattern=r"\A(?i:https?)://", max_length=4096, examples=["https://api.example.com/v1/orders"])]
Headers = Annotated[dict[str, str], Meta(max_length=50)]
Params = dict[str, str | int | float | bool]

_OPTIONS: dict[str, Any] = {"queue": "api_calls", "bind": True, "max_retries": 5}


class Reply(Struct, frozen=True, kw_only=True):
    """What came back. `json` is its body where that is JSON, `text` where it is not; header names in lower case."""

    status: int
    url: str
    headers: dict[str, str]
    json: Any
    text: str | None


@task(name="tasks.api.call_external_api", **_OPTIONS)
async def call_external_api(  # noqa: PLR0913, PLR0917 - a request has so many parts
    context: Context,
    method: Method,
    url: Url,
    headers: Headers | None = None,
    params: Params | None = None,
    json: Any = None,
    data: str | None = None,
    timeout: Annotated[float, Meta(gt=0, le=280)] | None = None,
) -> Reply:
    """Call an API. 5xx, 408, 425, 429 and silence are tried again, no sooner than Retry-After; other errors are not.

    What is not a GET carries the job's id as Idempotency-Key, so that the other side can know a second try.
    """
    if json is not None and data is not None:
        raise FatalError("give `json` or `data`, not both")
    wanted = _call(context, method.upper(), _with_params(url, params), dict(headers or {}), json, data)
    return await _made(context, wanted, timeout)


@task(name="tasks.api.fetch_json", **_OPTIONS)
async def fetch_json(context: Context, url: Url, headers: Headers | None = None, params: Params | None = None) -> Any:
    """GET an address that answers in JSON; the result is its value."""
    wanted = _call(context, "GET", _with_params(url, params), {"Accept": _JSON, **(headers or {})}, None, None)
    return _value(await _made(context, wanted, None))


@task(name="tasks.api.post_json", **_OPTIONS)
async def post_json(context: Context, url: Url, payload: Any, headers: Headers | None = None) -> Any:
    """POST a value as JSON to an address that answers in JSON; the result is its value, None for no body."""
    wanted = _call(context, "POST", url, {"Accept": _JSON, **(headers or {})}, payload, None)
    return _value(await _made(context, wanted, None))


def _call(context: Context, method: str, url: str, headers: dict[str, str], json: Any, data: str | None) -> Call:
    given = {name.lower() for name in headers}
    body = data.encode() if data is not None else b""
    if json is not None:
        body = msgspec.json.encode(json)
        if "content-type" not in given:
            headers["Content-Type"] = _JSON
    if method not in ("GET", "HEAD", "OPTIONS") and "idempotency-key" not in given:
        headers["Idempotency-Key"] = context.idempotency_key
    return Call(method=method, url=url, headers=headers, body=body)


def _with_params(url: str, params: Params | None) -> str:
    try:
        return str(httpx2.URL(url).copy_merge_params(params)) if params else url
    except httpx2.InvalidURL as error:
        raise FatalError(f"{url[:200]!r} is not an address: {error}") from error


async def _made(context: Context, wanted: Call, timeout: float | None) -> Reply:
    told = API.settings
    rules = Rules(
        allowed=told.api_allow,
        timeout=timeout or told.api_timeout,
        max_bytes=told.api_max_bytes,
        authorities=told.api_authorities,
    )
    try:
        answer = await web.call(wanted, rules)
    except web.Unreachable as error:
        raise Retry(error.detail, _wait(context, None)) from error
    context.log(f"{wanted.method} {answer.url}: {answer.status}, {len(answer.body)} bytes")
    if answer.status < 400:
        return _reply(answer)
    said = f"{answer.url} answered {answer.status}: {printable(answer.text.strip(), _WORDS)}"
    if answer.status >= 500 or answer.status in _PASSING:
        raise Retry(said, _wait(context, answer.retry_after))
    raise FatalError(said)


def _wait(context: Context, asked: float | None) -> float:
    """Seconds until the next try: what was asked for, if it is longer than ours."""
    own = API.settings.api_retry_wait * 2.0 ** min(context.retries, 20)
    return float(min(max(own, asked or 0.0), API.settings.api_patience))


def _reply(answer: Answer) -> Reply:
    try:
        value, text = (answer.json() if answer.body else None), None
    except (ValueError, RecursionError):
        value, text = None, printable(answer.text, len(answer.body) + 1)
    return Reply(status=answer.status, url=answer.url, headers=answer.headers, json=value, text=text)


def _value(reply: Reply) -> Any:
    if reply.text is not None:
        raise FatalError(f"{reply.url} answered {reply.status} with what is no JSON: {reply.text[:_WORDS]}")
    return reply.json
