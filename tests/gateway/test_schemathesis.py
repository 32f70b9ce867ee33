"""schemathesis makes requests up from the description, right and wrong ones, and holds every answer against it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from executors import assembly
from executors.settings import Settings
from gateway.app import Gateway, GatewayOptions, create_app
from gateway.operation import Operation
from gateway.routes import OPERATIONS

EXAMPLES = 8
CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            # The description does not know what a task takes, which jobs there are and in what state they are, nor
            # that free values have no NUL and no numbers that lose digits elsewhere.
            "positive_data_acceptance": {"expected-statuses": ["2xx", 304, 400, 404, 409, 410, 422]},
        }
    }
)


class Opened:
    """The gateway with everything behind it, opened on the loop that schemathesis runs it on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gateway: Gateway | None = None
        self._lifespan = Router(lifespan=self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._gateway or self._lifespan)(scope, receive, send)

    @asynccontextmanager
    async def _open(self, app: Any) -> AsyncIterator[None]:
        async with assembly.gateway(self._settings) as control:
            self._gateway = create_app(control, GatewayOptions(allowed_hosts=("testserver",)))
            yield
        self._gateway = None


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('schemathesis') / 'jobs.db'}"
    else:
        url = request.getfixturevalue("postgres_server").fresh()
    app = Opened(Settings(database_url=url, task_modules=("tests.gateway.support",)))
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=CONFIG)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.id for operation in OPERATIONS])
def test_every_answer_is_as_described(api: Any, operation: Operation, mode: GenerationMode) -> None:
    made_up = api[operation.path][operation.method].as_strategy(generation_mode=mode)

    @given(case=made_up)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate()

    try:
        check()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "only of wrong requests there may be none"
