"""The combinations that keep the contract. Each is deployed once; all of the contract is then run against it.

One of them: `pytest tests/executors/contract -k celery-prefork-sqlite-redis`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.combinations import COMBINATIONS, Combination
from tests.support.deployment import Deployment, Shape


def _parameter(combination: Combination) -> object:
    marks = [pytest.mark.rabbitmq] if combination.broker == "rabbitmq" else []
    return pytest.param(combination, id=str(combination), marks=marks)


@pytest.fixture(scope="session", params=[_parameter(combination) for combination in COMBINATIONS])
def deployment(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_database: Callable[[str], str],
    make_broker: Callable[[str], str],
) -> Iterator[Deployment]:
    combination: Combination = request.param
    shape = Shape(
        database_url=make_database(combination.database),
        pool=combination.pool,
        broker_url=make_broker(combination.broker) if combination.broker else "",
        gateway_modules="tests.support.gateway_tasks" if combination.pool else "",
    )
    started = Deployment(shape, tmp_path_factory.mktemp(str(combination)))
    try:
        started.start()
        started.run("add", 1, tags=["keep"])  # for the test that sees a result expire
        yield started
    finally:
        started.stop()
