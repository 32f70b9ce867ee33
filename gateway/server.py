"""uvicorn, as this product runs it: ready means said so, and ending means telling the load balancer first."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator
from functools import partial
from types import FrameType

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from executors.control import Control
from executors.end_signals import default_in_forks
from executors.leaving import GRACE, Leaving
from gateway.app import Gateway
from gateway.connection import Connection
from gateway.crowd import MAX_CONNECTIONS, Crowd, connections_within, raise_file_limit
from tasks.errors import ConfigurationError

log = logging.getLogger("jobgate.server")

BACKLOG = 2048
#: The first that comes lets running jobs finish, the second gives them back; SIGQUIT does so at once.
SIGNALS = (*HANDLED_SIGNALS, signal.SIGQUIT)
#: Ticks of a tenth of a second between "not ready" and closing the door.
NOTICE = 5


class Drain:
    """The end of a gateway that was asked to end: `timeout` seconds for what runs, and the exit code."""

    def __init__(self, timeout: float, leaving: Leaving) -> None:
        self.code = 0
        self._timeout = timeout
        self._leaving = leaving

    def begin(self, control: Control) -> None:
        # Now, and not when the door has closed: what would be begun in between would only be given back.
        control.drain()
        self._leaving.within(self._timeout + GRACE)
        if running := control.busy:
            words = "waiting up to %g s for the jobs that run (%d); Ctrl-C or SIGTERM once more gives them back"
            log.warning(words, self._timeout, running)

    def hurry(self, control: Control, sig: int) -> None:
        """Give back at once what runs. A third signal kills the process; leases bring its jobs back then."""
        self.code = 128 + sig
        control.hurry()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)


class Server(uvicorn.Server):
    """Calls `announce` with the address once it can be reached."""

    def __init__(self, app: Gateway, listener: socket.socket, announce: Callable[[str], None], drain: Drain) -> None:
        files = raise_file_limit()
        crowd = Crowd(connections_within(files))
        if crowd.limit < MAX_CONNECTIONS:
            words = "server: at most %d connections, because this process may open %d files only: raise ulimit -n"
            log.warning(words, crowd.limit, files)
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=partial(Connection, crowd=crowd),  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            headers=[("x-content-type-options", "nosniff")],
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=10,
            limit_concurrency=crowd.limit,
        )
        super().__init__(config)
        self._app = app
        self._listener = listener
        self._announce = announce
        self._drain = drain
        self._notice = NOTICE

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first, self._app.draining = not self._app.draining, True
        if first:
            self._drain.begin(self._app.control)
        if not first or sig == signal.SIGQUIT:
            self._notice = 0
            self.should_exit = self.force_exit = True
            self._drain.hurry(self._app.control, sig)

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
        for sig in SIGNALS:
            signal.signal(sig, self.handle_exit)
        default_in_forks()  # task functions may start processes
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
        # The text of some errors repeats the address; those of name resolution have numbers of their own.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise ConfigurationError(f"HOST, PORT: cannot listen on {host}:{port}: {reason}") from error
