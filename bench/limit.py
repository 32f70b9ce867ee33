"""The limit: a bare Starlette endpoint behind the gateway's own server. JSON in, a UUID out, nothing written down."""

from __future__ import annotations

import gc
import uuid
from typing import cast

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from executors.leaving import Leaving
from gateway.app import Gateway
from gateway.server import Drain, Server, listen


async def accept(request: Request) -> JSONResponse:
    await request.json()
    return JSONResponse({"id": str(uuid.uuid4())}, status_code=202)


class Bare(Starlette):
    """With the one attribute that the server looks at."""

    draining = False


def main() -> None:
    app = Bare(routes=[Route("/api/v1/jobs", accept, methods=["POST"])])
    drain = Drain(0, Leaving())
    server = Server(cast(Gateway, app), listen("127.0.0.1", 0), lambda url: print(url, flush=True), drain)
    # As the gateway does: the limit shall be at its best.
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)
    uvloop.run(server.serve())


if __name__ == "__main__":
    main()
