"""USE_CELERY is switched while jobs wait: the rows do not know the executor, so nothing is lost and nothing doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.executors.conftest import Deploy
from tests.support.deployment import JOBS, Deployment
from tests.support.ledger import Ledger
from tests.support.waiting import eventually

COUNT = 500
SLOTS = 2


def _some_have_ended(deployment: Deployment, count: int) -> None:
    """So many of the jobs have left the queue, and others still wait."""
    eventually(
        lambda: deployment.client.get("/api/v1/stats").json()["jobs"]["SUCCESS"] >= count, 60, f"{count} have ended"
    )


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_switching_twice_with_500_jobs_waiting_loses_and_doubles_nothing(
    deploy: Deploy,
    make_database: Callable[[str], str],
    make_broker: Callable[[str], str],
    ledger: Ledger,
    database: str,
) -> None:
    url, broker = make_database(database), make_broker("redis")
    threads = {"slots": SLOTS}
    celery = {"pool": "prefork", "broker_url": broker, "slots": SLOTS}

    first = deploy(url, **threads)
    # Long enough that no mode can run them all before it is stopped. Every tenth is delayed, every tenth fails once.
    jobs = [{"task": "switched", "args": [str(ledger), n, 0.02], "tags": ["switch"]} for n in range(COUNT)]
    for n in range(0, COUNT, 10):
        jobs[n]["countdown"] = 2.0
    held = first.batch(jobs)
    _some_have_ended(first, 50)
    first.stop()

    second = deploy(url, **celery)
    _some_have_ended(second, 150)
    second.stop()

    third = deploy(url, **threads)
    done = third.all_ended("switch", COUNT, within=90)
    assert sorted(job["id"] for job in done) == sorted(held)
    assert Counter(job["status"] for job in done) == {"SUCCESS": COUNT}
    modes = Counter(job["mode"] for job in done)
    assert min(modes["thread"], modes["celery"]) >= 50, modes

    # A body may have been begun more often than it ended only where a drain gave it back; each ended once.
    ends = Counter(line for line in ledger.lines() if line.startswith("end"))
    assert set(ends.values()) == {1}
    assert len(ends) == COUNT
    starts = Counter(line for line in ledger.lines() if line.startswith("start"))
    # Each begun body is an attempt; a stop may give back unbegun what it had claimed, at most a job a slot.
    unbegun = sum(job["attempt"] for job in done) - sum(starts.values())
    assert 0 <= unbegun <= 2 * SLOTS
    for job in done[:: COUNT // 20]:
        assert third.statuses(job).count("SUCCESS") == 1
    print(f"switched: {modes['thread']} by threads, {modes['celery']} by Celery, {sum(starts.values())} starts")


def test_a_stopped_deployment_keeps_accepted_jobs(deploy: Deploy, make_database: Callable[[str], str]) -> None:
    url = make_database("sqlite")
    first = deploy(url, slots=1)
    job = first.submit("add", 1, held=True)
    delayed = first.submit("add", 2, countdown=1)
    first.stop()
    second = deploy(url, slots=1)
    assert second.ended(delayed)["result"] == 12
    second.verb(job, "release")
    assert second.ended(job)["result"] == 11
    assert second.client.get(f"{JOBS}?status=PENDING").json()["jobs"] == []
