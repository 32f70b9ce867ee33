"""uvicorn, as this product runs it: ready means said so, and ending means telling the load balancer first."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Generator
from types import FrameType

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from gateway.app import Gateway
from gateway.connection import Connection
from tasks.errors import ConfigurationError

#: Connections at once; more are answered 503.
MAX_CONNECTIONS = 1000
BACKLOG = 2048
#: Ticks of a tenth of a second between "not ready" and closing the door.
NOTICE = 5


class Server(uvicorn.Server):
    """Calls `announce` with the address once it can be reached."""

    def __init__(self, app: Gateway, listener: socket.socket, announce: Callable[[str], None]) -> None:
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=10,
            limit_concurrency=MAX_CONNECTIONS,
        )
        super().__init__(config)
        self._app = app
        self._listener = listener
        self._announce = announce
        self._notice = NOTICE

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.draining = True
        # Now, and not when the door has closed: what would be begun in between would only be given back.
        self._app.control.drain()
        # From here on a second Ctrl-C ends the process at once; leases bring its jobs back.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    async def on_tick(self, counter: int) -> bool:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.check_patience()
        if self._app.draining:
            self._notice -= 1
            self.should_exit = self._notice <= 0
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn would raise the signals again after serving, before the executor has let go of its jobs.
        for sig in HANDLED_SIGNALS:
            signal.signal(sig, self.handle_exit)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([self._listener])
        host, port = self._listener.getsockname()[:2]
        self._announce(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown([self._listener])


def listen(host: str, port: int) -> socket.socket:
    """An open port. Raises ConfigurationError: before anything else is started, that is cheap to find out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(f"HOST, PORT: cannot listen on {host}:{port}: {reason}") from error
