"""The house stands: imports run one way, in the text and in a live worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import Deployment, Shape
from tests.support.processes import ROOT

#: What a worker has no business with.
WEB = ("gateway", "starlette", "uvicorn")


def _loaded(modules: list[str], packages: tuple[str, ...]) -> list[str]:
    return [name for name in modules if name.partition(".")[0] in packages]


def test_you_may_import_what_is_below_you() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_live_worker_never_meets_the_web(pool: str, redis_url: str, tmp_path: Path) -> None:
    shape = Shape(database_url=f"sqlite:///{tmp_path / 'jobs.db'}", pool=pool, broker_url=redis_url, slots=1)
    deployment = Deployment(shape, tmp_path)
    try:
        deployment.start()
        modules = deployment.run("modules")["result"]
    finally:
        deployment.stop()
    assert "celery" in modules
    assert _loaded(modules, WEB) == []
    assert _loaded(modules, ("asyncpg",)) == [], "the driver of a database that is not used"


def test_a_gateway_in_thread_mode_never_loads_celery(tmp_path: Path) -> None:
    deployment = Deployment(Shape(database_url=f"sqlite:///{tmp_path / 'jobs.db'}", slots=1), tmp_path)
    try:
        deployment.start()
        modules = deployment.run("modules")["result"]
    finally:
        deployment.stop()
    assert "starlette" in modules
    assert _loaded(modules, ("celery", "kombu", "billiard", "redis", "amqp")) == []
