"""Why a job does not run or did not end: a test for every reason that is known, on both stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from msgspec import structs
from sqlalchemy import text

from executors.base import Health
from executors.control import Control
from tasks import step
from tasks.job import ErrorCode, Mode
from tasks.step import Failure
from tasks.store.situation import MAX_HOLDERS
from tasks.store.store import JobStore
from tasks.worker import Worker
from tests.gateway.support import NOBODY, Hand

READ = {"task": "tests.read", "kwargs": {"path": "a.txt"}}
LIMITED = {"task": "tests.anything"}
WORKER = Worker(
    owner="hand", name="celery@here", host="here", pid=7, mode="celery", pool="prefork", slots=2, busy=0,
    queues=("celery", "low"), tasks=("tests.read", "tests.anything"), version="0.1.0", draining=False,
    instance="here/b00t-1/1/1",
)  # fmt: skip


async def submit(client: httpx2.AsyncClient, body: Any = READ, **more: Any) -> str:
    answer = await client.post("/api/v1/jobs", json={**body, **more})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


async def why(client: httpx2.AsyncClient, job_id: str) -> Sequence[dict[str, Any]]:
    answer = await client.get(f"/api/v1/jobs/{job_id}/why")
    assert answer.status_code == 200, answer.text
    reasons: Sequence[dict[str, Any]] = answer.json()["reasons"]
    assert all(reason["detail"] for reason in reasons)
    return reasons


async def codes(client: httpx2.AsyncClient, job_id: str) -> list[str]:
    return [reason["code"] for reason in await why(client, job_id)]


async def sql(store: JobStore, statement: str, **values: Any) -> None:
    async with store.engine.begin() as connection:
        await connection.execute(text(statement), values)


@pytest.fixture
async def worker(hand: Hand) -> Worker:
    await hand.store.beat(WORKER)
    return WORKER


async def test_ready(client: httpx2.AsyncClient, worker: Worker) -> None:
    (ready,) = await why(client, await submit(client))
    assert (ready["code"], ready["blocking"], ready["data"]["free_slots"]) == ("ready", False, 2)


async def test_held(client: httpx2.AsyncClient, worker: Worker) -> None:
    job = await submit(client, held=True)
    (held,) = await why(client, job)
    assert (held["code"], held["blocking"]) == ("held", True)
    assert held["remedy"] == f"POST /api/v1/jobs/{job}/release"
    assert (await client.post(held["remedy"].removeprefix("POST "))).status_code == 200
    assert await codes(client, job) == ["ready"]


async def test_not_due(client: httpx2.AsyncClient, worker: Worker) -> None:
    job = await submit(client, eta="2090-01-31T09:00:00Z")
    (reason,) = await why(client, job)
    assert (reason["code"], reason["data"]) == ("not_due", {"due_at": "2090-01-31T09:00:00.000Z"})
    assert "not due until 2090-01-31T09:00:00.000Z" in reason["detail"]


async def test_it_waits_for_a_retry_and_says_what_failed(
    client: httpx2.AsyncClient, hand: Hand, worker: Worker
) -> None:
    job = await submit(client)
    failure = Failure(code=ErrorCode.TASK_ERROR, message="badly formed hexadecimal UUID string", type="ValueError")
    await hand.store.settle(step.retry(await hand.claim(job), failure, 600, 0.1))
    (reason,) = await why(client, job)
    assert (reason["code"], reason["blocking"]) == ("waits_for_retry", True)
    assert "attempt 1 failed with ValueError: badly formed hexadecimal UUID string" in reason["detail"]
    assert "attempt 2 is not due until" in reason["detail"]
    assert (reason["data"]["attempt"], reason["data"]["retries_left"]) == (1, 2)
    assert reason["data"]["error"]["type"] == "ValueError"


async def test_a_retry_that_is_due_still_says_what_failed(
    client: httpx2.AsyncClient, hand: Hand, worker: Worker
) -> None:
    job = await submit(client)
    failure = Failure(code=ErrorCode.TASK_ERROR, message="no", type="OSError")
    await hand.store.settle(step.retry(await hand.claim(job), failure, 0, 0.1))
    ready, failed = await why(client, job)
    assert (ready["code"], failed["code"], failed["blocking"]) == ("ready", "failed_before", False)


async def test_given_back(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    job = await submit(client)
    await hand.store.settle(step.interrupt(await hand.claim(job)))
    ready, back = await why(client, job)
    assert (ready["code"], back["code"], back["data"]["attempt"]) == ("ready", "given_back", 1)


async def test_its_queue_is_paused(client: httpx2.AsyncClient, worker: Worker) -> None:
    job = await submit(client)
    pause = {"until": "2090-01-31T09:00:00Z", "reason": "the mail server moves"}
    assert (await client.post("/api/v1/queues/celery/pause", params=pause)).status_code == 200
    (reason,) = await why(client, job)
    assert (reason["code"], reason["data"]["until"]) == ("queue_paused", "2090-01-31T09:00:00.000Z")
    assert reason["detail"].endswith(": the mail server moves")
    assert (await client.post(reason["remedy"].removeprefix("POST "))).status_code == 200
    assert await codes(client, job) == ["ready"]


async def test_a_worker_that_does_not_hear_is_no_consumer(client: httpx2.AsyncClient, hand: Hand) -> None:
    await hand.store.beat(WORKER)
    await hand.store.call_deaf(WORKER.instance)
    (reason,) = await why(client, await submit(client))
    assert (reason["code"], reason["data"]["last_consumers"][0]["state"]) == ("nobody_consumes", "deaf")
    assert "celery@here (pid 7) lives and does not hear the broker" in reason["detail"]


async def test_nobody_consumes_its_queue(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    (reason,) = await why(client, await submit(client, queue="high"))
    assert reason["code"] == "nobody_consumes"
    assert reason["data"] == {"queue": "high", "consumed_queues": ["celery", "low"], "last_consumers": []}
    assert "nobody consumes queue high: live workers serve celery, low" in reason["detail"]


async def test_no_worker_lives_and_the_last_one_is_named(client: httpx2.AsyncClient, hand: Hand) -> None:
    await hand.store.beat(WORKER)
    await sql(hand.store, "UPDATE workers SET seen_at = seen_at - 60000")
    await hand.store.beat(structs.replace(WORKER, owner="leaving", draining=True))
    (reason,) = await why(client, await submit(client))
    assert reason["code"] == "nobody_consumes"
    assert "no worker takes jobs; the last that did showed life at" in reason["detail"]
    assert sorted(one["state"] for one in reason["data"]["last_consumers"]) == ["draining", "lost"]


async def test_the_task_is_unknown_to_the_workers_and_which_version_knows_it(
    client: httpx2.AsyncClient, hand: Hand
) -> None:
    await hand.store.beat(structs.replace(WORKER, tasks=("tests.anything",), version="0.0.9"))
    await hand.store.beat(structs.replace(WORKER, owner="new", name="new@here", queues=("low",), version="0.2.0"))
    (reason,) = await why(client, await submit(client))
    assert (reason["code"], reason["data"]["versions"]) == ("task_unknown", ["0.0.9"])
    (knows,) = reason["data"]["known_by"]
    assert (knows["worker"], knows["version"], knows["state"]) == ("new@here (pid 7)", "0.2.0", "up")
    assert "new@here (pid 7), version 0.2.0, up, does" in reason["detail"]


async def test_the_broker_is_away(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    detail = "the broker is away: ConnectionError: 111 connecting to broker.inside:6379"
    hand.well = Health(ok=False, detail=detail, away_since=1_900_000_000_000)
    job = await submit(client)
    (reason,) = await why(client, job)
    assert (reason["code"], reason["data"]) == ("broker_away", {"since": "2030-03-17T17:46:40.000Z"})
    assert "broker.inside" not in reason["detail"]
    await hand.store.beat(structs.replace(WORKER, owner="threads", mode=Mode.THREAD))
    assert await codes(client, job) == ["ready"], "threads need no broker"
    await hand.store.beat(structs.replace(WORKER, owner="threads", mode=Mode.THREAD, tasks=()))
    assert await codes(client, job) == ["broker_away"], "but these do not run it: its task has fallback=False"


async def test_the_concurrency_limit_is_reached_and_by_whom(
    client: httpx2.AsyncClient, hand: Hand, worker: Worker
) -> None:
    await hand.store.set_limit("tests.anything", None, 1)
    first, second = await submit(client, LIMITED), await submit(client, LIMITED)
    await hand.claim(first)
    reason = (await why(client, second))[0]
    assert (reason["code"], reason["data"]["max_running"]) == ("concurrency_limited", 1)
    assert [one["id"] for one in reason["data"]["running"]] == [first]
    assert reason["data"]["running"][0]["worker"] == "celery@here (pid 7)"
    assert first in reason["detail"]


async def test_a_job_of_the_same_concurrency_key_runs(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    first, second = [await submit(client, concurrency_key="customer 7") for _ in range(2)]
    other = await submit(client, concurrency_key="customer 8")
    await hand.claim(first)
    reason = (await why(client, second))[0]
    assert (reason["code"], reason["data"]["running"][0]["id"]) == ("concurrency_limited", first)
    assert "1 jobs of task tests.read with concurrency key 'customer 7' may run at once" in reason["detail"]
    assert "concurrency_limited" not in await codes(client, other)


async def test_a_large_limit_that_is_reached_names_the_first(
    client: httpx2.AsyncClient, hand: Hand, worker: Worker
) -> None:
    many = MAX_HOLDERS + 1
    await hand.store.set_limit("tests.anything", None, many)
    for job in [await submit(client, LIMITED) for _ in range(many)]:
        await hand.claim(job)
    reason = (await why(client, await submit(client, LIMITED)))[0]
    assert (reason["code"], len(reason["data"]["running"])) == ("concurrency_limited", MAX_HOLDERS)
    assert f"and {many - 1} more" in reason["detail"]


async def test_the_rate_limit_and_until_when(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    await hand.store.set_limit("tests.anything", 600_000.0, None)
    first, second, third = [await submit(client, LIMITED) for _ in range(3)]
    assert await codes(client, first) == ["ready"]
    await hand.claim(first)
    (reason,) = await why(client, second)
    assert (reason["code"], reason["data"]["seconds_between_starts"], reason["data"]["ahead"]) == (
        "rate_limited", 600, 0)  # fmt: skip
    assert reason["data"]["until"] == reason["data"]["next_start_at"]
    later = (await why(client, third))[0]
    assert (later["data"]["ahead"], later["data"]["until"] > reason["data"]["until"]) == (1, True)
    assert "after 1 others" in later["detail"]


async def test_jobs_before_it(client: httpx2.AsyncClient, hand: Hand, control: Control, worker: Worker) -> None:
    control.order = [["high"], ["celery"]]
    first, second = await submit(client), await submit(client)
    urgent, earlier = await submit(client, priority=9), await submit(client, queue="high")
    assert earlier
    found = {job: (await why(client, job))[0] for job in (first, second, urgent)}
    assert [found[job]["data"]["ahead"] for job in (urgent, first, second)] == [1, 2, 3]
    assert found[second]["code"] == "behind_others"
    assert "3 due jobs are served before it, by 2 slots" in found[second]["detail"]


async def test_slots_busy(client: httpx2.AsyncClient, hand: Hand) -> None:
    await hand.store.beat(structs.replace(WORKER, busy=2))
    (reason,) = await why(client, await submit(client))
    assert (reason["code"], reason["data"]["slots"], reason["data"]["workers"]) == (
        "slots_busy", 2, ["celery@here (pid 7)"])  # fmt: skip


async def test_rung_and_expiring(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    job = await submit(client, expires=3600)
    await sql(hand.store, "UPDATE jobs SET rung_at = due_at WHERE id = :id", id=job)
    assert await codes(client, job) == ["ready", "rung", "expires"]


async def test_a_worker_has_it(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    job = await submit(client, time_limit=60)
    await hand.claim(job)
    (reason,) = await why(client, job)
    assert (reason["code"], reason["blocking"]) == ("running", False)
    assert reason["detail"].startswith("worker celery@here (pid 7) has it since ")
    assert "last showed life at" in reason["detail"]
    data = reason["data"]
    assert (data["worker"], data["pid"], data["attempt"]) == ("celery@here", 7, 1)
    assert data["started_at"] < data["time_limit_at"]
    assert data["seen_at"] is not None


async def test_its_worker_is_silent(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    job = await submit(client)
    await hand.claim(job)
    await sql(hand.store, "UPDATE workers SET seen_at = seen_at - 60000")
    (reason,) = await why(client, job)
    assert (reason["code"], reason["blocking"]) == ("worker_silent", True)
    assert "then another worker gets it" in reason["detail"]
    await hand.store.gone("hand")
    (reason,) = await why(client, job)
    assert "worker hand has it since" in reason["detail"]
    assert "is not in the registry" in reason["detail"]
    await sql(hand.store, "UPDATE jobs SET losses = max_losses WHERE id = :id", id=job)
    assert "then it ends in FAILURE (worker_lost)" in (await why(client, job))[0]["detail"]


async def test_a_cancel_that_is_not_obeyed(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    job = await submit(client)
    await hand.claim(job)
    await client.post(f"/api/v1/jobs/{job}/cancel")
    asked, running = await why(client, job)
    assert (asked["code"], running["code"]) == ("cancel_not_obeyed", "running")
    assert asked["data"]["asked_at"] < asked["data"]["ended_by_force_at"]


async def test_a_lease_that_nobody_takes_back(client: httpx2.AsyncClient, hand: Hand, worker: Worker) -> None:
    job = await submit(client)
    await hand.claim(job)
    await sql(hand.store, "UPDATE jobs SET lease_until = lease_until - 120000 WHERE id = :id", id=job)
    assert await codes(client, job) == ["lease_over", "running"]


async def test_ended_how_when_and_by_whom(client: httpx2.AsyncClient, hand: Hand) -> None:
    done, failed, revoked = [await submit(client) for _ in range(3)]
    await hand.succeed(done)
    await hand.fail(failed)
    await client.post(f"/api/v1/jobs/{revoked}/cancel")
    found = {job: (await why(client, job))[0] for job in (done, failed, revoked)}
    assert {reason["code"] for reason in found.values()} == {"ended"}
    assert (found[done]["data"]["status"], found[done]["data"]["ended_by"]) == ("SUCCESS", "hand")
    assert found[done]["remedy"] is None
    assert "FAILURE at" in found[failed]["detail"]
    assert found[failed]["detail"].endswith("in attempt 1: FileNotFoundError: no such file (task_error)")
    assert "/retry" in found[failed]["remedy"]
    assert "before any attempt: cancelled before it started (cancelled)" in found[revoked]["detail"]
    assert found[revoked]["data"]["finished_at"] is not None


async def test_several_reasons_stand_in_the_order_of_their_weight(client: httpx2.AsyncClient) -> None:
    job = await submit(client, held=True, countdown=3600, expires=7200)
    assert await codes(client, job) == ["held", "not_due", "nobody_consumes", "expires"]


async def test_what_is_no_job(client: httpx2.AsyncClient) -> None:
    answer = await client.get(f"/api/v1/jobs/{NOBODY}/why")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/job-not-found")
