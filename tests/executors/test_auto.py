"""USE_CELERY=auto: threads stand in while Celery is away, dead or deaf, and it comes back by itself.

One deployment for all of them, behind a wire that can be cut. Each test prints how soon.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from executors.base import Patience
from executors.celery_executor import CeleryExecutor
from executors.strangers import Strangers
from tasks.admission import Admission, Defaults
from tasks.job import Mode, Submission
from tasks.registry import Registry
from tasks.store.store import open_store
from tasks.worker import Worker
from tests.chaos.proxy import Proxy
from tests.support.deployment import Deployment, Shape
from tests.support.ledger import Ledger
from tests.support.servers import Redis
from tests.support.tasks import add
from tests.support.waiting import eventually, eventually_async

#: Seconds that a switch may take here, where others use the machine: what is asked for is 3 and 10.
PATIENCE = 40.0


class Site:
    """The deployment, its broker, and the wire between them."""

    def __init__(self, folder: Path) -> None:
        self.redis = Redis(folder)
        self.wire = Proxy(self.redis.port)
        url = f"redis://127.0.0.1:{self.wire.port}/0"
        database = f"sqlite:///{folder / 'jobs.db'}"
        self.deployment = Deployment(
            Shape(database_url=database, pool="prefork", broker_url=url, slots=2, auto=True), folder
        )

    def stop(self) -> None:
        self.wire.mode = "pass"
        self.deployment.stop()
        self.wire.stop()
        self.redis.stop()

    def stands(self, mode: str, fallback: str | None) -> float:
        """Wait until this carrier is in use for this reason; the seconds that it took."""
        since = time.monotonic()

        def look() -> bool:
            found = self.deployment.capabilities
            return (found["mode"], found["fallback"]) == (mode, fallback)

        eventually(look, PATIENCE, f"{mode} carries, because of {fallback}")
        return time.monotonic() - since

    def metric(self, name: str) -> float:
        page = self.deployment.client.get("/metrics").text
        return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(f"jobgate_{name} "))

    @contextmanager
    def without_celery(self, fallback: str) -> Iterator[None]:
        """What is done before it is lost: a job runs on threads, all say why, and it comes back after the block."""
        deployment, since = self.deployment, time.monotonic()
        patient = deployment.submit("celery_only")
        done = deployment.run("add", 1)
        seconds = time.monotonic() - since
        assert (done["status"], done["mode"]) == ("SUCCESS", "thread")
        self.stands("thread", fallback)
        said = deployment.client.get("/readyz?verbose").json()
        assert said["status"] == "degraded"
        assert "threads stand in" in said["checks"][1]["detail"]
        assert self.metric(f'fallback{{reason="{fallback}"}}') == 1
        assert self.metric("broker_up") == (fallback != "broker")
        assert deployment.read(patient)["status"] == "PENDING", "its task does not allow threads"
        yield
        back = self.stands("celery", None)
        assert self.metric("broker_up") == 1
        assert deployment.ended(patient)["mode"] == "celery"
        assert deployment.run("add", 1)["mode"] == "celery"
        print(f"{os.environ['PYTEST_CURRENT_TEST']}: on threads after {seconds:.1f} s, back after {back:.1f} s")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("auto"))
    try:
        site.deployment.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def site(running: Site, request: pytest.FixtureRequest) -> Site:
    """With Celery in use, as each test leaves it."""
    request.node.deployments = [running.deployment]
    running.stands("celery", None)
    return running


def test_with_celery_it_is_celery(site: Site) -> None:
    assert site.deployment.run("add", 1)["mode"] == "celery"
    found = site.deployment.capabilities
    assert (found["setting"], found["hard_limit"], found["remote_workers"]) == ("auto", "process", True)
    assert site.deployment.client.get("/readyz").json() == {"status": "ready"}
    assert site.metric('carrier{executor="celery"}') == 1
    tasks = site.deployment.client.get("/api/v1/tasks/tests.celery_only").json()
    assert tasks["fallback"] is False


def test_a_killed_broker_that_comes_back_empty(site: Site) -> None:
    before = site.metric('fallbacks_total{reason="broker"}')
    site.redis.process.kill()
    site.redis.stop()
    with site.without_celery("broker"):
        site.redis.start()
    assert site.metric('fallbacks_total{reason="broker"}') == before + 1


def test_a_stalled_broker_holds_up_no_submission(site: Site) -> None:
    os.kill(site.redis.process.pid, signal.SIGSTOP)
    try:
        for _ in range(20):
            assert site.deployment.submit("add", 1)["status"] == "PENDING"
        with site.without_celery("broker"):
            os.kill(site.redis.process.pid, signal.SIGCONT)
    finally:
        os.kill(site.redis.process.pid, signal.SIGCONT)


def test_a_worker_that_a_black_hole_left_deaf_connects_anew(site: Site) -> None:
    """What waited for an answer then waits for ever: its connection stands, and nothing comes through it."""
    site.wire.mode = "hole"
    with site.without_celery("broker"):
        site.wire.mode = "pass"
        site.stands("thread", "deaf")
        workers = site.deployment.client.get("/api/v1/workers").json()["workers"]
        assert all(worker["deaf"] for worker in workers if worker["mode"] == "celery")
    assert "connects to the broker anew" in site.deployment.workers[0].output
    site.stands("celery", None)
    eventually(
        lambda: not any(w["deaf"] for w in site.deployment.client.get("/api/v1/workers").json()["workers"]),
        PATIENCE,
        "nobody is called deaf any more",
    )


def test_a_stopped_worker_that_wakes_late_gives_up_what_it_lost(site: Site, ledger: Ledger) -> None:
    deployment, worker = site.deployment, site.deployment.workers[0]
    refused = site.metric("jobs_superseded_total")
    job = deployment.submit("loop", str(ledger), PATIENCE)
    assert deployment.reaches(job, "STARTED")["mode"] == "celery"
    os.killpg(worker.pid, signal.SIGSTOP)
    try:
        with site.without_celery("workers"):
            second: dict[str, Any] = eventually(
                lambda: found if (found := deployment.read(job))["attempt"] == 2 else None,  # type: ignore[return-value]
                PATIENCE,
                "threads have taken it over",
            )
            assert (second["status"], second["mode"]) == ("STARTED", "thread")
            os.killpg(worker.pid, signal.SIGCONT)
            eventually(lambda: ledger.lines() == ["LeaseLost"], PATIENCE, "the first body is told")
    finally:
        os.killpg(worker.pid, signal.SIGCONT)
    assert deployment.cancel(job) == "asked"
    ended = deployment.ended(job)
    assert (ended["status"], ended["attempt"]) == ("REVOKED", 2)
    assert ledger.lines() == ["LeaseLost", "Cancelled"]
    eventually(lambda: site.metric("jobs_superseded_total") == refused + 1, PATIENCE, "its late word is counted")
    assert deployment.statuses(job) == ["PENDING", "STARTED", "RETRY", "STARTED", "REVOKED"]


async def test_a_flushed_broker_is_rung_again_without_an_idle_slot(tmp_path: Path, redis_url: str) -> None:
    """That slots are idle while rings are old would tell too; here all are busy, and the epoch's key tells alone."""
    store = await open_store(f"sqlite:///{tmp_path}/jobs.db", Mode.CELERY)
    await store.beat(
        Worker(
            owner="host/boot/1/1/ab", name="celery@host", host="host", pid=1, mode="celery", pool="prefork", slots=1,
            busy=1, queues=("celery",), tasks=("tests.add",), version="1", draining=False,
        )
    )  # fmt: skip
    relay = CeleryExecutor(store, redis_url, [["celery"]], Patience(life=60), Strangers())
    await relay.start()
    await store.accept(Admission(Registry([add]), Defaults()).admit(Submission(task="tests.add", args=[1])))
    with redis.Redis.from_url(redis_url) as broker:
        epochs: set[bytes] = set()

        async def rung() -> bool:
            """In an epoch that is not over."""
            epoch = broker.get("jobgate.epoch")
            return epoch not in {None, *epochs} and any(name.startswith(b"celery") for name in broker.scan_iter())

        await eventually_async(rung, PATIENCE)
        epochs.add(broker.get("jobgate.epoch"))
        since = time.monotonic()
        broker.flushdb()
        await eventually_async(rung, PATIENCE)
        print(f"{os.environ['PYTEST_CURRENT_TEST']}: rung again after {time.monotonic() - since:.1f} s")
    await relay.stop(0)
    await store.stop()
