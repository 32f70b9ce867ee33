"""A real Flower beside real workers: its count of each outcome is the store's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from tests.executors.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.ledger import Ledger
from tests.support.processes import Process, free_port, python
from tests.support.waiting import eventually


def flower(deployment: Deployment, port: int) -> Process:
    command = python("-m", "celery", "-A", "executors.celery_worker", "flower", "--address=127.0.0.1", f"--port={port}")
    environment = {**deployment.environment(), "FLOWER_UNAUTHENTICATED_API": "true"}
    return Process("flower", command, environment, deployment.folder)


def run_all_outcomes(deployment: Deployment, ledger: Ledger) -> list[str]:
    """Jobs that succeed, fail, wait for a retry, are retried with success, and are cancelled while they run."""
    ended = [deployment.run("add", 1), deployment.run("fatal"), deployment.run("throw", "memory")]
    ended.append(deployment.run("fail", 1))
    waits = deployment.submit("fail_slowly")
    deployment.reaches(waits, "RETRY")
    cancelled = deployment.submit("loop", str(ledger))
    deployment.reaches(cancelled, "STARTED")
    deployment.post(f"/api/v1/jobs/{cancelled['id']}/cancel")
    deployment.ended(cancelled)
    return [job["id"] for job in (*ended, waits, cancelled)]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_flowers_counts_are_those_of_the_store(
    pool: str, deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], ledger: Ledger
) -> None:
    deployment = deploy(
        make_database("sqlite"), pool=pool, broker_url=make_broker("redis"), slots=2,
        worker_options=("-E", "--loglevel=INFO"),
    )  # fmt: skip
    port = free_port()
    process = flower(deployment, port)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            _wait_for_events(deployment, client)
            ids = run_all_outcomes(deployment, ledger)
            ours = {job: deployment.read(job)["status"] for job in ids}
            assert Counter(ours.values()) == {"SUCCESS": 2, "FAILURE": 2, "RETRY": 1, "REVOKED": 1}

            def theirs() -> dict[str, Any]:
                found = client.get("/api/tasks").json()
                return {job: found[job]["state"] for job in ids if job in found}

            eventually(lambda: theirs() == ours, 20, "Flower's counts are the store's")
            # Flower has no name of a task whose first event came before Flower listened.
            names = {task["name"] or "" for task in client.get("/api/tasks").json().values()}
            assert not any("canary" in name for name in names)
    finally:
        process.stop()
    worker = deployment.workers[0]
    succeeded = {job for job, status in ours.items() if status == "SUCCESS"}
    eventually(lambda: {job for job in ids if f"[{job}] succeeded" in worker.output} == succeeded, 10, "the log agrees")
    assert "Task jobgate.canary" not in worker.output


def _wait_for_events(deployment: Deployment, client: httpx2.Client) -> None:
    def seen() -> bool:
        with suppress(httpx2.HTTPError, ValueError):  # Flower does not serve yet
            return deployment.run("add", 1)["id"] in client.get("/api/tasks").json()
        return False

    eventually(seen, 60, "Flower gets events")
