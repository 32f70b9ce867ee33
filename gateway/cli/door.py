"""The gateway as a command sees it: requests out, values or a CommandError back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx2

from executors.settings import CallerSettings
from gateway.cli.exits import CommandError, Exit

#: Seconds for an answer; a request that may wait for a job gets its wait on top.
PATIENCE = 30.0
#: Seconds of silence after which a stream is taken for dead; the gateway says "still here" every ten.
SILENCE = 30.0
#: How often in a row a broken stream is taken up again, and seconds in between.
RECONNECTS = 5
PAUSE = 1.0

#: Answers to a request without a valid key; the second is given to those who sent many of them.
_WITHOUT_KEY = frozenset({401, 429})
_REFUSED = frozenset({401, 403, 409, 410})


class ServerEvent(NamedTuple):
    """One server-sent event; `data` is its JSON value, `cursor` says where to go on after it."""

    name: str
    data: Any
    cursor: str


class Door:
    """A way to the gateway at `settings.url`, which may take `patience` seconds to answer."""

    def __init__(self, settings: CallerSettings, patience: float = PATIENCE) -> None:
        self._patience = patience
        self.url = settings.url
        self._has_key = bool(settings.api_key)
        headers = {"authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        # A proxy of the environment's is for the world outside, not for this machine.
        local = urlsplit(settings.url).hostname in {"127.0.0.1", "localhost", "::1"}
        # Loading the certificates takes 50 ms, which a plain connection does not need.
        secure = settings.url.startswith("https:")
        self._client = httpx2.Client(
            base_url=settings.url, headers=headers, timeout=patience, trust_env=not local, verify=secure
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None, wait: float = 0.0) -> Any:
        """The answer's value; the gateway may take `wait` seconds longer than usual."""
        return self.send("GET", path, query=query, wait=wait)

    def post(self, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        return self.send("POST", path, body=body, query=query)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
    ) -> Any:
        """The value of any request's answer; None where it has none. Raises CommandError."""
        given = {name: value for name, value in (query or {}).items() if value not in (None, "", [])}
        content = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"content-type": "application/json"}
        try:
            answer = self._client.request(
                method,
                path,
                content=content,
                params=given or None,  # an empty one would take away what stands in the path
                headers={**kind, **(headers or {})},
                timeout=self._patience + wait,
            )
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise self._away(error) from error
        return self._value(answer)

    def follow(self, path: str) -> Iterator[ServerEvent]:
        """The events of a stream until its `done`; a stream that breaks is taken up where it broke."""
        cursor, failures = "", 0
        while failures <= RECONNECTS:
            try:
                for event in self._stream(path, cursor):
                    cursor, failures = event.cursor, 0
                    yield event
                    if event.name == "done":
                        return
            except httpx2.TransportError as error:
                if failures == RECONNECTS:
                    raise self._away(error) from error
            failures += 1
            time.sleep(PAUSE)
        raise CommandError(Exit.UNREACHABLE, f"{self.url} ends the stream again and again")

    def _stream(self, path: str, cursor: str) -> Iterator[ServerEvent]:
        headers = {"last-event-id": cursor} if cursor else {}
        timeout = httpx2.Timeout(self._patience, read=SILENCE)
        with self._client.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if answer.status_code != 200:
                answer.read()
                self._value(answer)
            block: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    block[name] = value
                    continue
                if "event" in block:
                    yield ServerEvent(block["event"], json.loads(block["data"]), block["id"])
                block = {}

    def _value(self, answer: httpx2.Response) -> Any:
        if answer.status_code == 204:
            return None
        try:
            value = answer.json()
        except ValueError:
            raise CommandError(Exit.UNREACHABLE, f"{self.url} answers, but not as a Jobgate does") from None
        if answer.is_success:
            return value
        if answer.status_code in _WITHOUT_KEY:
            has = "the key in JOBGATE_API_KEY is none of its keys" if self._has_key else "set JOBGATE_API_KEY"
            raise CommandError(Exit.REFUSED, f"{self.url} needs an API key: {has}")
        raise CommandError(_exit_of(answer.status_code), _words_of(value, answer.status_code))

    def _away(self, error: Exception) -> CommandError:
        words = str(error) or type(error).__name__
        return CommandError(
            Exit.UNREACHABLE, f"no answer from {self.url} ({words}); is it running there? JOBGATE_URL says where to ask"
        )


def address(*parts: str) -> str:
    """`/api/v1/…`, with every part escaped."""
    return "/".join(["/api/v1", *(quote(part, safe=":") for part in parts)])


def _exit_of(status: int) -> Exit:
    if status == 404:
        return Exit.NOT_FOUND
    if status in _REFUSED:
        return Exit.REFUSED
    return Exit.USAGE if status < 500 else Exit.UNREACHABLE


def _words_of(problem: Any, status: int) -> str:
    """The problem document on one line: what, where, and what to do."""
    if not isinstance(problem, dict) or "detail" not in problem:
        return f"the gateway answered {status}"
    faults = problem.get("errors", ())
    places = [fault.get("pointer") or fault.get("parameter") or fault.get("header") for fault in faults]
    where = ", ".join(filter(None, places))
    return f"{problem['detail']} ({where})" if where else str(problem["detail"])
