"""The proxy of the fault tests: what it loses, whom it tells, and that it leaves nothing open."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.chaos.proxy import Link, Proxy
from tests.support.waiting import eventually


class Echo:
    """A server that sends back what it gets, and remembers the connections that it has taken."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.taken: list[socket.socket] = []
        self.ended: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.taken.append(connection)
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while piece := connection.recv(1024):
                connection.sendall(piece)
        except OSError:
            pass
        self.ended.append(connection)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.taken:
            connection.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.stop()


def _ask(client: socket.socket, words: bytes) -> bytes:
    client.sendall(words)
    return client.recv(1024)


@pytest.mark.parametrize("state", ["idle", "being made", "lost"])
def test_a_proxy_that_is_stopped_early_leaves_no_transport(echo: Echo, state: str) -> None:
    with warnings.catch_warnings(record=True) as found, ExitStack() as clients:
        warnings.simplefilter("always")
        wire = Proxy(echo.port)
        for _ in range(20):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", wire.port), timeout=10))
            if state != "being made":
                assert _ask(client, b"hello") == b"hello"
        for link in wire.links:
            link.lost = state == "lost"
        wire.stop()
        del wire
        gc.collect()
    assert [str(each.message) for each in found if "unclosed" in str(each.message)] == []


def test_neither_end_of_a_lost_connection_hears_of_the_other(echo: Echo) -> None:
    def lose(link: Link, piece: bytes, up: bool) -> None:
        link.lost = link.lost or piece == b"last"

    wire = Proxy(echo.port, lose)
    try:
        with (
            socket.create_connection(("127.0.0.1", wire.port), timeout=10) as kept,
            socket.create_connection(("127.0.0.1", wire.port), timeout=10) as lost,
        ):
            assert _ask(kept, b"hello") == b"hello"
            assert _ask(lost, b"hello") == b"hello"
            lost.sendall(b"last")
            lost.shutdown(socket.SHUT_WR)
            assert _ask(kept, b"still here") == b"still here"
            assert echo.ended == []
            wire.restore()
            with pytest.raises(ConnectionResetError):
                lost.recv(1)
            eventually(lambda: len(echo.ended) == 1, what="the server is told")
    finally:
        wire.stop()
