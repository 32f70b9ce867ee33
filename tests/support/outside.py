"""A server outside, as callers of ours name it: it answers as its path says, and remembers who asked for what."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.waiting import eventually

#: The only name on its certificate.
NAME = "api.outside.example"


class Heard(NamedTuple):
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Outside:
    """`url` with http, `secure_url` with https; `authority` is a PEM file of who signed its certificate."""

    def __init__(self, port: int, secure_port: int, authority: Path) -> None:
        self.port, self.secure_port, self.authority = port, secure_port, authority
        self.url, self.secure_url = f"http://127.0.0.1:{port}", f"https://127.0.0.1:{secure_port}"
        self._failures: dict[str, int] = {}
        self.calls: list[Heard] = []

    @property
    def variables(self) -> dict[str, str]:
        """What the api pack is told, so that it may call here."""
        return {"API_ALLOW": f"127.0.0.1:{self.port}", "API_RETRY_WAIT": "0.1", "API_SMOKE_URL": f"{self.url}/echo"}

    def reset(self) -> None:
        self.calls, self._failures = [], {}

    def app(self) -> Starlette:
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return Starlette(
            routes=[
                Route("/echo", self._echo, methods=every),
                Route("/status/{status:int}", self._status, methods=every),
                Route("/to", self._redirect, methods=every),
                Route("/flaky/{times:int}/{name}", self._flaky, methods=every),
                Route("/large/{size:int}", self._large),
                Route("/packed", self._packed),
                Route("/slow", self._slow),
            ]
        )

    async def _hear(self, request: Request) -> Heard:
        headers = dict(request.headers.items())
        heard = Heard(request.method, request.url.path, headers, await request.body())
        self.calls.append(heard)
        return heard

    async def _echo(self, request: Request) -> Response:
        heard = await self._hear(request)
        return JSONResponse({"method": heard.method, "headers": heard.headers, "body": heard.body.decode()})

    async def _status(self, request: Request) -> Response:
        """`?retry_after=` is sent as the header."""
        await self._hear(request)
        wait = request.query_params.get("retry_after")
        headers = {"retry-after": wait} if wait else {}
        return JSONResponse({"said": "no"}, request.path_params["status"], headers)

    async def _redirect(self, request: Request) -> Response:
        """`?url=` is where, `?status=` how."""
        await self._hear(request)
        status = int(request.query_params.get("status", "302"))
        return Response(status_code=status, headers={"location": request.query_params["url"]})

    async def _flaky(self, request: Request) -> Response:
        """503 so many times for each name, then well."""
        await self._hear(request)
        name = request.path_params["name"]
        self._failures[name] = self._failures.get(name, 0) + 1
        if self._failures[name] <= request.path_params["times"]:
            return Response("not now", 503, {"retry-after": request.query_params.get("retry_after", "0")})
        return JSONResponse({"calls": self._failures[name]})

    async def _large(self, request: Request) -> Response:
        await self._hear(request)

        async def body() -> AsyncIterator[bytes]:
            for _ in range(request.path_params["size"] >> 10):
                yield b"x" * 1024

        return StreamingResponse(body())

    async def _packed(self, request: Request) -> Response:
        await self._hear(request)
        return Response(gzip.compress(b"0" * (10 << 20)), headers={"content-encoding": "gzip"})

    async def _slow(self, request: Request) -> Response:
        await self._hear(request)
        await asyncio.sleep(20)
        return Response("late")


@contextmanager
def outside(folder: Path) -> Iterator[Outside]:
    """The server on loopback, in a thread, until the end; other processes reach it too."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "outside.pem"))
    with authority.issue_cert(NAME).private_key_and_cert_chain_pem.tempfile(str(folder)) as key:
        plain, secure = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        world = Outside(plain.getsockname()[1], secure.getsockname()[1], folder / "outside.pem")
        with _serving(world, plain, None), _serving(world, secure, key):
            yield world


@contextmanager
def _serving(world: Outside, listener: socket.socket, key: str | None) -> Iterator[None]:
    config = uvicorn.Config(world.app(), loop="asyncio", log_config=None, log_level="critical", ssl_certfile=key)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started, 20, "the server outside listens")
        yield
    finally:
        # A request that is made to be slow must not hold up the end.
        server.should_exit = server.force_exit = True
        thread.join(20)
        listener.close()
