"""The ground that shakes: a broker and a store, each behind a wire that can be cut."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.chaos.pg_wire import PostgresWatch
from tests.chaos.proxy import Proxy
from tests.support.processes import clean_environment, python
from tests.support.servers import Postgres, RabbitMQ, Redis, find_faketime, find_rabbitmq


class Stage:
    """`broker_url` and `database_url` lead through the proxies, `record_url` straight to the database."""

    def __init__(self, folder: Path, broker: str, store: str) -> None:
        self.folder = folder
        self.redis: Redis | None = None
        self.backend: Redis | None = None
        self.rabbit: RabbitMQ | None = None
        self.postgres: Postgres | None = None
        self.broker_wire: Proxy | None = None
        self.store_wire: Proxy | None = None
        self.store_watch: PostgresWatch | None = None
        self.broker_url = self._broker(broker)
        self.database_url = self.record_url = self._database(store)

    def _broker(self, kind: str) -> str:
        if kind == "redis":
            self.redis = Redis(self.folder)
            self.broker_wire = Proxy(self.redis.port)
            return f"redis://127.0.0.1:{self.broker_wire.port}/0"
        if kind == "rabbitmq":
            script = find_rabbitmq()
            if script is None:
                raise SystemExit("chaos: rabbitmq-server is not installed; Debian and Ubuntu have it as a package")
            self.rabbit = RabbitMQ(script, self.folder)
            self.broker_wire = Proxy(self.rabbit.port)
            return f"amqp://guest:guest@127.0.0.1:{self.broker_wire.port}//"
        return ""

    def _database(self, kind: str) -> str:
        if kind == "sqlite":
            url = f"sqlite:///{self.folder / 'jobs.db'}"
            command = python("-m", "tasks.store.migrate", url)
            subprocess.run(command, check=True, env=clean_environment(), capture_output=True)
            return url
        if kind == "none":
            return ""
        # Without libfaketime its clock stays right; see `faults.of_ground`.
        self.postgres = Postgres(self.folder / "pg", self.folder / "clock" if find_faketime() else None)
        return self.postgres.fresh()

    def wire_store(self) -> None:
        """Put a proxy before PostgreSQL; SQLite has no wire."""
        if self.postgres is not None:
            place = urlsplit(self.record_url)
            socket = f"{parse_qs(place.query)['host'][0]}/.s.PGSQL.5432"
            self.store_watch = PostgresWatch()
            self.store_wire = Proxy(socket, self.store_watch)
            self.database_url = f"postgresql://postgres@127.0.0.1:{self.store_wire.port}{place.path}"

    def lock(self) -> closing[sqlite3.Connection]:
        """SQLite's write lock, held by another writer until closed."""
        connection = sqlite3.connect(self.record_url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return closing(connection)

    def backend_url(self) -> str:
        """Where plain Celery keeps its results: a Redis through the same wire, or one beside RabbitMQ."""
        if self.redis is not None:
            return self.broker_url.removesuffix("/0") + "/1"
        self.backend = Redis(self.folder)
        return f"{self.backend.url}/1"

    def stop(self) -> None:
        for part in (self.broker_wire, self.store_wire, self.redis, self.backend, self.rabbit, self.postgres):
            if part is not None:
                part.stop()
