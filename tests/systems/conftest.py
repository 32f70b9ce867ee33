"""All packs in one deployment of each kind, as the five systems' owners would use them: started once for all tests.

One of them: `pytest tests/systems -k system-thread`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tasks.packs import SYSTEMS
from tests.executors.conftest import make_broker, make_database
from tests.packs import citations_support, office
from tests.support.answers import AnswerEngines
from tests.support.combinations import SITES, Site
from tests.support.deployment import Deployment, Shape
from tests.support.mail import Mailbox, mail_variables
from tests.support.model import MODEL
from tests.support.outside import Outside, outside
from tests.support.processes import python

__all__ = ["make_broker", "make_database"]


#: The back-office's; the last group has those of the tests' own tasks, and whatever else the packs name.
ORDER = {"JOBGATE_QUEUES": "urgent>system>priority_high>priority_low>celery,normal,other"}


def _there() -> list[str]:
    return [pack for packs in SYSTEMS.values() for pack in packs if find_spec(f"tasks.packs.{pack}") is not None]


@pytest.fixture(scope="session")
def web_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """What `tasks.api.*` may call."""
    with outside(tmp_path_factory.mktemp("outside")) as world:
        yield world


@pytest.fixture(scope="session")
def incoming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder on the server that uploads may come from."""
    return tmp_path_factory.mktemp("incoming")


@pytest.fixture(scope="session")
def assistant_world(model_url: str) -> dict[str, str]:
    """A small real model, and what it is said to cost."""
    model = {"ASSISTANT_CHAT_URL": model_url, "ASSISTANT_CHAT_MODEL": MODEL, "ASSISTANT_MAX_TOKENS": "40"}
    return {**model, "ASSISTANT_PRICE_INPUT": "0.5", "ASSISTANT_PRICE_OUTPUT": "1.5"}


@pytest.fixture(scope="session")
def outside_world(
    engines: AnswerEngines,
    mail_server: Mailbox,
    web_world: Outside,
    incoming: Path,
    assistant_world: dict[str, str],
) -> dict[str, str]:
    """The variables that lead the packs to this test's servers instead of the world's."""
    packs = {**citations_support.variables(engines), **office.variables(engines), **assistant_world}
    return {**packs, **mail_variables(mail_server), **web_world.variables, "UPLOAD_ROOTS": str(incoming)}


@pytest.fixture(scope="session", params=[pytest.param(site, id=str(site)) for site in SITES])
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_database: Callable[[str], str],
    make_broker: Callable[[str], str],
    outside_world: dict[str, str],
) -> Iterator[Deployment]:
    wanted: Site = request.param
    url = make_database(wanted.database)
    shape = Shape(
        database_url=url,
        pool="prefork" if wanted.celery else None,
        broker_url=make_broker("redis") if wanted.celery else "",
        environment={
            "JOBGATE_PACKS": ",".join(_there()),
            "RESULT_EXPIRES": "600",
            "FILES_SAMPLES": "1",
            **ORDER,
            **outside_world,
        },
    )
    deployment = Deployment(shape, tmp_path_factory.mktemp(str(wanted)))
    environment = deployment.environment()
    subprocess.run(python("-m", "gateway.cli", "db", "upgrade"), check=True, env=environment, capture_output=True)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()
