"""A database that answers every read and takes no writes: the gateway says that it is not ready, and why."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.support.deployment import JOBS, Deployment, Shape
from tests.support.servers import Postgres
from tests.support.waiting import eventually

Switch = Callable[[bool], None]


@pytest.fixture
def deployment(database_url: str, tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(Shape(database_url=database_url), tmp_path)
    deployment.start()
    yield deployment
    deployment.stop()


@pytest.fixture
def allow_writes(deployment: Deployment, request: pytest.FixtureRequest, tmp_path: Path) -> Switch:
    """Takes the database's writes away, and gives them back."""
    if deployment.shape.database_url.startswith("sqlite"):
        return lambda on: _let_files_grow(deployment.gateway.pid, tmp_path / "jobs.db-wal", on)
    server: Postgres = request.getfixturevalue("postgres_server")
    name = urlsplit(deployment.shape.database_url).path[1:]

    def switch(on: bool) -> None:
        server.run(f"ALTER DATABASE {name} SET default_transaction_read_only = {'off' if on else 'on'}")
        server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    return switch


def _let_files_grow(pid: int, log: Path, on: bool) -> None:
    """A full disk, for one process: no file of its grows beyond what the database's log is long by now."""
    _, hard = psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE)
    limit = hard if on else log.stat().st_size
    psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE, (limit, hard))


def metric(deployment: Deployment, name: str, **labels: str) -> float:
    families = parse_text(deployment.client.get("/metrics").text)
    return next(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"jobgate_{name}" and sample.labels == labels
    )


def submit(deployment: Deployment) -> int:
    return deployment.client.post(JOBS, json={"task": "tests.add", "args": [1, 2]}).status_code


def test_a_store_without_writes_is_not_ready(deployment: Deployment, allow_writes: Switch) -> None:
    client = deployment.client
    assert client.get("/readyz").status_code == 200
    assert metric(deployment, "store_up", op="write") == 1
    allow_writes(False)
    eventually(lambda: submit(deployment) == 503)
    # Eventually: connections that the server ended are noticed one by one, and each is a read that fails.
    eventually(lambda: "takes no writes" in (answer := client.get("/readyz")).text and answer.status_code == 503)
    eventually(lambda: client.get(JOBS).status_code == 200)
    eventually(lambda: metric(deployment, "store_up", op="read") == 1)
    assert metric(deployment, "store_up", op="write") == 0
    assert metric(deployment, "store_errors_total", op="write") > 0
    allow_writes(True)
    eventually(lambda: client.get("/readyz").status_code == 200)
    eventually(lambda: submit(deployment) == 202)
    eventually(lambda: metric(deployment, "store_up", op="write") == 1)
