"""How soon a deployment goes on after faults of its broker, its store and its parent. All answers are in seconds."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.broker_faults import MALFORMED, QUEUE
from tests.chaos.recovery_deployment import PATIENCE, Deployments
from tests.chaos.stage import Stage
from tests.support.deployment import Deployment
from tests.support.servers import find_faketime

#: Seconds in which the server frees the locks of a client that says nothing in a transaction: five, and one to notice.
FREED = 6.0


def hung_parent(deployments: Deployments) -> float:
    """The parent of the only worker stands still for good, until its own processes have ended it."""
    with deployments.make(pool="prefork", slots=2) as deployment:
        (worker,) = deployment.workers
        since = time.monotonic()
        worker.signal(signal.SIGSTOP)
        assert worker.ends(2 * PATIENCE)
        return time.monotonic() - since


def no_writes(deployments: Deployments) -> float:
    """From the moment at which Redis takes writes again until a job has run."""
    with deployments.make(pool="prefork", slots=2) as deployment, deployments.redis_client() as client:
        client.config_set("maxmemory", 1)
        job = deployment.submit("add", 1)
        time.sleep(3)
        since = time.monotonic()
        client.config_set("maxmemory", 0)
        deployment.ended(job, PATIENCE)
        return time.monotonic() - since


def malformed(deployments: Deployments) -> float:
    """From elements that are no messages, with a job behind them, until that has run."""
    with deployments.make(pool="prefork", slots=2) as deployment, deployments.redis_client() as client:
        since = time.monotonic()
        client.rpush(QUEUE, *MALFORMED)
        deployment.run("add", 1)
        return time.monotonic() - since


def on_postgres(deployments: Deployments, folder: Path) -> Iterator[tuple[str, float, float]]:
    """Yields what was timed, its seconds, and the seconds that are wanted."""
    folder.mkdir()
    folder.chmod(0o755)  # PostgreSQL may run as another user
    stage = Stage(folder, "", "postgresql")
    stage.wire_store()
    try:
        with deployments.make(stage.database_url, pool="prefork", slots=2) as deployment:
            yield "a claim unheard, its job has run", _claim_unheard(stage, deployment), 2
            yield "a client vanished in mid transaction, its locks are free", _vanished(stage), FREED
            if find_faketime() is not None:
                yield "the clock went back an hour, a limited job has run", _clock_back(stage, deployment), 2
    finally:
        stage.stop()


def _claim_unheard(stage: Stage, deployment: Deployment) -> float:
    assert stage.store_watch is not None
    assert stage.store_wire is not None
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(stage.store_watch.lose_claim)
        job = deployment.submit("add", 1)
        lost.result()
    since = time.monotonic()
    stage.store_wire.restore()
    deployment.ended(job, PATIENCE)
    return time.monotonic() - since


def _vanished(stage: Stage) -> float:
    """Until the server has ended the session by itself."""
    assert stage.store_watch is not None
    assert stage.store_wire is not None
    link = stage.store_watch.lose_transaction(2)
    since = time.monotonic()
    assert link.dropped.wait(PATIENCE)
    seconds = time.monotonic() - since
    stage.store_wire.restore()
    return seconds


def _clock_back(stage: Stage, deployment: Deployment) -> float:
    assert stage.postgres is not None
    deployment.run("few")
    stage.postgres.set_clock(-3600)
    time.sleep(1.5)  # the server reads how far its clock is off once a second
    since = time.monotonic()
    deployment.run("few")
    return time.monotonic() - since
