"""A first burst seen from outside: a real gateway, a real Prometheus, the shipped rules without their waiting times."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from metrics.expected import expected
from metrics.exposition import Exposition
from tasks.job import Mode
from tasks.store.store import JobStore, open_store
from tests.metrics import rows
from tests.metrics.test_exposition import BUILD, scrape, value
from tests.support.deployment import Deployment, Shape
from tests.support.processes import ROOT, Process, clean_environment, free_port
from tests.support.waiting import eventually

BURST = 40


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(Shape(database_url=f"sqlite:///{tmp_path / 'jobs.db'}"), tmp_path)
    deployment.start()
    yield deployment
    deployment.stop()


@pytest.fixture
async def record(gateway: Deployment) -> AsyncIterator[JobStore]:
    """The gateway's own store, for what no client can do: a worker that is lost."""
    store = await open_store(gateway.shape.database_url, Mode.THREAD)
    yield store
    await store.stop()


@pytest.fixture
def prometheus(gateway: Deployment, tmp_path: Path) -> Iterator[httpx2.Client]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus, of the Debian package of that name, is not installed")
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(re.sub(r"(?m)^        for: \w+$", "        for: 0s", rules))
    target = {"targets": [f"{gateway.client.base_url.host}:{gateway.client.base_url.port}"]}
    settings = {
        "global": {"scrape_interval": "300ms", "scrape_timeout": "300ms", "evaluation_interval": "300ms"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "jobgate", "static_configs": [target]}],
    }
    # JSON is YAML.
    (tmp_path / "prometheus.yml").write_text(json.dumps(settings))
    port = free_port()
    command = [
        program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip  # one option a line
    process = Process("prometheus", command, clean_environment(), tmp_path)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=20, trust_env=False) as client:
        process.wait_for("Server is ready to receive web requests")
        yield client
    process.stop()


def found(prometheus: httpx2.Client, query: str) -> list[dict[str, str]]:
    """The labels of the series that answer a query."""
    answer = prometheus.get("/query", params={"query": query}).json()
    return [series["metric"] for series in answer["data"]["result"]]


async def test_a_first_burst_fires_the_alerts(gateway: Deployment, record: JobStore, prometheus: httpx2.Client) -> None:
    eventually(lambda: found(prometheus, 'count_over_time(jobgate_jobs_lost_total{task="tests.fatal"}[1m]) > 2'))
    batch = {"jobs": [{"task": "tests.fatal"}] * BURST}
    assert gateway.client.post("/api/v1/jobs:batch", json=batch).is_success
    await rows.run(record.engine, "tests.fatal", 5, queue="celery", status="RETRY", code="worker_lost")

    def firing() -> bool:
        alerts = found(prometheus, 'ALERTS{task="tests.fatal",alertstate="firing"}')
        return {alert["alertname"] for alert in alerts} == {"JobgateHighFailRate", "JobgateWorkersLost"}

    eventually(firing, within=60)


async def test_what_is_expected_stands_at_zero(store: JobStore) -> None:
    pairs = expected([("t", "own"), ("u", "own")], ["own", "more"])
    found = await scrape(Exposition(store, BUILD, expected=pairs))
    counters = {name for name, labels in found if dict(labels).keys() == {"task", "queue"} and "_job_" not in name}
    assert {name.removeprefix("jobgate_jobs_").removesuffix("_total") for name in counters} == {
        "submitted", "started", "succeeded", "retried", "interrupted", "cancelled", "expired", "lost",
    }  # fmt: skip  # one line
    for name in counters:
        for task in ("t", "u"):
            for queue in ("own", "more"):
                assert found[name, (("queue", queue), ("task", task))] == 0
    for state in ("SUCCESS", "FAILURE", "REVOKED"):
        assert value(found, "jobs_ended_total", task="t", queue="more", state=state) == 0
    assert value(found, "job_runtime_seconds_count", task="t", queue="own") == 0
    assert ("jobgate_job_runtime_seconds_count", (("queue", "more"), ("task", "t"))) not in found


async def test_a_pair_that_one_family_has_every_counter_has(store: JobStore) -> None:
    async with store.engine.begin() as connection:
        await rows.insert(connection, [("new", "else")])
    found = await scrape(Exposition(store, BUILD))
    here = {"task": "new", "queue": "else"}
    assert value(found, "jobs_submitted_total", **here) == 1
    assert value(found, "jobs_lost_total", **here) == 0
    assert value(found, "jobs_ended_total", **here, state="FAILURE") == 0
    assert value(found, "job_wait_seconds_count", **here) == 0


async def test_ends_add_up_over_exceptions_and_reasons(store: JobStore) -> None:
    for exception in ("ValueError", "KeyError"):
        await rows.run(store.engine, "t", 2, status="FAILURE", code="task_error", type=exception)
    await rows.run(store.engine, "t", 3)
    async with store.engine.begin() as connection:
        ids = await rows.insert(connection, [("t", "default")] * 3)
        await rows.revoke(connection, ids[:1], "cancelled")
        await rows.revoke(connection, ids[1:], "expired")
    found = await scrape(Exposition(store, BUILD))
    ended = {
        state: value(found, "jobs_ended_total", task="t", queue="default", state=state)
        for state in ("SUCCESS", "FAILURE", "REVOKED")
    }
    assert ended == {"SUCCESS": 3, "FAILURE": 4, "REVOKED": 3}


def test_many_tasks_in_many_queues_are_expected_in_their_own() -> None:
    own = [(f"task{n}", "a") for n in range(600)]
    assert list(expected(own, ["a", "b"]).counters) == own
    assert len(expected(own[:500], ["a", "b"]).counters) == 1000
