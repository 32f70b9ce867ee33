"""Deployments: each is started once, shown when a test fails, and ended."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import Deployment, Shape
from tests.support.ledger import Ledger
from tests.support.servers import Postgres

Deploy = Callable[..., Deployment]


@pytest.fixture(scope="session")
def make_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A fresh database of a kind; its URL."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('database') / 'jobs.db'}"
        server: Postgres = request.getfixturevalue("postgres_server")
        return server.fresh()

    return make


@pytest.fixture(scope="session")
def make_broker(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """An empty broker of a kind; its URL."""

    def make(kind: str) -> str:
        url: str = request.getfixturevalue("rabbitmq_url") if kind == "rabbitmq" else next(_redis(request))
        return url

    return make


def _redis(request: pytest.FixtureRequest) -> Iterator[str]:
    urls: Iterator[str] = request.getfixturevalue("redis_databases")
    return urls


@pytest.fixture
def deploy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deploy]:
    """Starts deployments for one test: `deploy(database_url, pool=…, …)`, the fields of a Shape."""
    started: list[Deployment] = []

    def start(database_url: str, **shape: Any) -> Deployment:
        folder = tmp_path / f"deployment{len(started)}"
        folder.mkdir()
        deployment = Deployment(Shape(database_url=database_url, **shape), folder)
        started.append(deployment)
        deployment.start()
        return deployment

    request.node.deployments = started
    yield start
    for deployment in started:
        deployment.stop()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its processes wrote meanwhile."""
    report = yield
    deployments = [*getattr(item, "deployments", ()), getattr(item, "funcargs", {}).get("deployment")]
    for deployment in filter(None, deployments):
        news = deployment.logs()
        if report.failed and news:
            report.sections.append(("processes of the deployment", news))
    return report
