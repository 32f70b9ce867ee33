"""Pools that the command line of a Celery worker chooses, and child processes of tasks in them."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.executors.conftest import Deploy


@pytest.mark.parametrize(
    ("options", "pool", "slots"),
    [(("--pool=threads", "--concurrency=3"), "threads", 3), (("-P", "solo"), "solo", 1), (("-c", "2"), "prefork", 2)],
    ids=["threads", "solo", "prefork"],
)
def test_the_pool_that_runs_counts_and_tasks_may_start_processes(
    deploy: Deploy,
    make_database: Callable[[str], str],
    make_broker: Callable[[str], str],
    options: tuple[str, ...],
    pool: str,
    slots: int,
) -> None:
    # The deployment waits for as many slots as the options ask for; the setting names another pool.
    setting = {"CELERY_POOL": "prefork", "CELERY_CONCURRENCY": "4"}
    deployment = deploy(
        make_database("sqlite"),
        pool=pool,
        broker_url=make_broker("redis"),
        slots=slots,
        worker_options=options,
        environment=setting,
    )
    done = deployment.run("start_processes")
    assert done["result"] == [2, 3, signal.SIGTERM, 3], done["error"]
    workers = deployment.client.get("/api/v1/workers").json()["workers"]
    assert {worker["pool"] for worker in workers} == {pool}
    assert sum(worker["slots"] for worker in workers) == slots
    assert deployment.run("add", 1)["result"] == 11, "no process of the task has ended the worker"


def test_tasks_may_start_processes_in_a_gateway(deploy: Deploy, make_database: Callable[[str], str]) -> None:
    done = deploy(make_database("postgresql"), slots=1).run("start_processes")
    assert done["result"] == [2, 3, signal.SIGTERM, 3], done["error"]
