"""The answer engines on one port, a vendor under each name: http://127.0.0.1:PORT/perplexity/v1/agent and so on."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.support.answers import agent, chat, cited, generate, messages, responses
from tests.support.answers.corpus import PAGES
from tests.support.answers.wire import Call, Refusal, Switch
from tests.support.waiting import eventually

VENDORS: dict[str, tuple[ModuleType, ...]] = {
    "perplexity": (agent,),
    "you": (cited,),
    "openai": (chat, responses),
    "anthropic": (messages,),
    "gemini": (generate,),
}


class Parts(Response):
    """A body sent in its parts; cut, the connection ends in the middle of it."""

    def __init__(self, parts: list[bytes], kind: str, cut: bool) -> None:
        super().__init__(media_type=kind)
        self._parts, self._cut = parts, cut
        if kind == "application/json":
            self.headers["content-length"] = str(sum(map(len, parts)))
        else:
            del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        half = sum(map(len, self._parts)) // 2
        for part in self._parts:
            sent = part[:half] if self._cut else part
            half -= len(sent)
            if sent:
                await send({"type": "http.response.body", "body": sent, "more_body": True})
        if not self._cut:
            await send({"type": "http.response.body", "body": b""})


class AnswerEngines:
    """Test switches and records beside the server; other processes reach it by its URLs."""

    #: The key that every vendor takes.
    key = "secret-of-the-tests"

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """All vendors are well again, and no request has come."""
        with self._lock:
            self._switches: dict[str, list[tuple[Switch, int | None]]] = {vendor: [] for vendor in VENDORS}
            self._calls: list[Call] = []

    def url(self, vendor: str) -> str:
        """The vendor's base address, without a slash at its end: in place of https://api.perplexity.ai."""
        assert vendor in VENDORS, vendor
        return f"{self._url}/{vendor}"

    def switch(self, vendor: str, *, times: int | None = None, **behaviour: Any) -> None:
        """How the vendor behaves from now on, or only so many times; see `Switch`. Several wait for their turn."""
        with self._lock:
            self._switches[vendor].append((Switch(**behaviour), times))

    def calls(self, vendor: str | None = None) -> list[Call]:
        """The requests that came since the test began, refused ones too."""
        with self._lock:
            return [call for call in self._calls if vendor in (None, call.vendor)]

    def take(self, call: Call) -> Call:
        """The call with the switch that it meets; it is recorded."""
        with self._lock:
            waiting = self._switches[call.vendor]
            if waiting:
                switch, times = waiting[0]
                call = replace(call, switch=switch)
                if times is not None:
                    waiting[:1] = [(switch, times - 1)] if times > 1 else []
            self._calls.append(call)
            return call

    def routes(self) -> list[Route]:
        routes = [
            Route(f"/{vendor}{path}", self._endpoint(vendor, module), methods=["POST"])
            for vendor, modules in VENDORS.items()
            for module in modules
            for path in module.PATHS
        ]
        return [*routes, Route(f"/gemini{generate.REDIRECT}{{page:int}}", _redirect)]

    def _endpoint(self, vendor: str, module: ModuleType) -> Any:
        async def endpoint(request: Request) -> Response:
            path = request.url.path.removeprefix(f"/{vendor}")
            raw = await request.body()
            try:
                body = json.loads(raw)
            except ValueError:
                body = raw.decode(errors="replace")
            call = Call(vendor, path, dict(request.headers), dict(request.query_params), body, self.url(vendor))
            call = self.take(call)
            await asyncio.sleep(call.switch.delay)
            try:
                return self._reply(module, call)
            except Refusal as refusal:
                return _refuse(module, refusal, call.switch.retry_after)

        return endpoint

    def _reply(self, module: ModuleType, call: Call) -> Response:
        if module.key(call) != self.key:
            raise Refusal(401, "Incorrect API key provided.")
        if call.switch.status is not None:
            raise Refusal(call.switch.status, f"The test asked for {call.switch.status}.", "switched")
        if not isinstance(call.body, dict):
            raise Refusal(400, "The body is not a JSON object.")
        reply = module.reply(call)
        if isinstance(reply, dict):
            return Parts([json.dumps(reply, ensure_ascii=False).encode()], "application/json", call.switch.cut)
        return Parts(list(reply), "text/event-stream", call.switch.cut)


def _refuse(module: ModuleType, refusal: Refusal, retry_after: int | None) -> Response:
    if module is generate:
        shape = generate.refuse(refusal, retry_after)
        return JSONResponse(shape, shape["error"]["code"])
    headers = {"retry-after": str(retry_after)} if retry_after is not None else {}
    if refusal.status == 429:
        headers |= {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "0"}
    return JSONResponse(module.refuse(refusal), refusal.status, headers)


def _redirect(request: Request) -> Response:
    return RedirectResponse(PAGES[request.path_params["page"]].url, 302)


@contextmanager
def answer_engines() -> Iterator[AnswerEngines]:
    """The server in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    engines = AnswerEngines(listener.getsockname()[1])
    config = uvicorn.Config(Starlette(routes=engines.routes()), loop="asyncio", log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started, 10, "the answer engines listen")
        yield engines
    finally:
        # A request that is made to be slow must not hold up the end.
        server.should_exit = server.force_exit = True
        thread.join(10)
        listener.close()
