"""The deployments on which recovery is timed: each on a store of its own, all with one Redis."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.support.deployment import Deployment, Shape
from tests.support.servers import Redis

#: Seconds that a measurement may take before it counts as failed.
PATIENCE = 60.0


class Deployments:
    def __init__(self, folder: Path, server: Redis) -> None:
        self._folder = folder
        self.redis = server

    @contextmanager
    def make(self, database_url: str = "", **shape: Any) -> Iterator[Deployment]:
        """A deployment that is ready; on SQLite where no URL is given."""
        folder = self._folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        url = database_url or f"sqlite:///{folder / 'jobs.db'}"
        deployment = Deployment(Shape(database_url=url, broker_url=f"{self.redis.url}/0", **shape), folder)
        try:
            deployment.start()
            yield deployment
        finally:
            deployment.stop()

    @contextmanager
    def redis_client(self) -> Iterator[Any]:
        with redis.Redis(port=self.redis.port) as client:
            yield client
