"""The loop of all async tests, and real servers: started when first asked for, ended with the session."""

from __future__ import annotations

import itertools
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.lanes import Lanes
from tests.support.model import model_server
from tests.support.servers import Postgres, find_rabbitmq, rabbitmq_server, redis_server

if TYPE_CHECKING:  # what they need takes a while to import, and most tests ask for neither
    from tests.support.answers import AnswerEngines
    from tests.support.mail import Mailbox


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    # Not under pytest's folder: the path of a unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="jobgate-") as folder:
        server = Postgres(Path(folder) / "pg")
        yield server
        server.stop()


@pytest.fixture(scope="session")
def redis_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[str]]:
    """URLs of the session's Redis, each with a database of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield (f"{url}/{n}" for n in itertools.count())


@pytest.fixture(scope="session")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    script = find_rabbitmq()
    if script is None:
        pytest.skip("rabbitmq-server is not installed; Debian and Ubuntu have it as a package of that name")
    with rabbitmq_server(script, tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


@pytest.fixture
def redis_url(redis_databases: Iterator[str]) -> str:
    """An empty Redis."""
    return next(redis_databases)


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> str:
    """A fresh PostgreSQL database with the schema of this release."""
    return postgres_server.fresh()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(scope="session")
def engines() -> Iterator[AnswerEngines]:
    from tests.support.answers import answer_engines

    with answer_engines() as engines:
        yield engines


@pytest.fixture
def answers(engines: AnswerEngines) -> AnswerEngines:
    """The answer engines, all well and without requests: `answers.url("you")`, `answers.key`, `answers.switch(…)`."""
    engines.reset()
    return engines


@pytest.fixture(scope="session")
def model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a small real model answers as OpenAI's API does, /v1 included; any key does."""
    with model_server(tmp_path_factory.mktemp("model")) as url:
        yield url


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    from tests.support.mail import Mailbox

    with Mailbox(tmp_path_factory.mktemp("mail")).running() as mailbox:
        yield mailbox


@pytest.fixture
def mailbox(mail_server: Mailbox) -> Mailbox:
    """An empty mailbox behind a server that takes everything until `refuse` or `lose_replies` say otherwise."""
    mail_server.reset()
    return mail_server


def pytest_configure() -> None:
    # Whoever ends the tests ends their servers too: a plain SIGTERM would leave them behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)  # only there with pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    return Lanes(config, log)
