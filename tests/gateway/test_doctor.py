"""The doctor over real stores and a real Redis: the stories that operators tell, and each names its cause."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import redis
from msgspec import structs
from sqlalchemy import text

from executors.base import Patience
from executors.celery_executor import CeleryExecutor
from executors.control import Control
from executors.doctor import diagnose
from executors.examination import Doctor
from executors.finding import Finding, exit_status
from executors.settings import Settings, place_of
from executors.strangers import Strangers
from tasks import step
from tasks.job import ErrorCode
from tasks.step import Failure
from tasks.store.store import JobStore
from tasks.worker import Worker
from tests.gateway.support import REGISTRY, Hand
from tests.support.waiting import eventually_async

READ = {"task": "tests.read", "kwargs": {"path": "a.txt"}}
QUEUES = ["high", "celery", "low"]
WORKER = Worker(
    owner="here/b00t-1/1/1/ab", name="celery@here", host="here", pid=1, mode="celery", pool="prefork", slots=2, busy=0,
    queues=("high", "celery", "low"), tasks=("tests.read", "tests.anything", "tests.nothing"), version="0.1.0",
    draining=False, instance="here/b00t-1/1/1",
)  # fmt: skip


def url_of(store: JobStore) -> str:
    url = store.engine.url
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)


@pytest.fixture
def settings(store: JobStore) -> Settings:
    return Settings(database_url=url_of(store), task_modules=("tests.gateway.support",), queues="high")


@pytest.fixture
def doctor(store: JobStore, settings: Settings, control: Control) -> Doctor:
    control.doctor = Doctor(settings, REGISTRY, QUEUES, store)
    return control.doctor


async def submit(client: httpx2.AsyncClient, body: Any = READ, **more: Any) -> str:
    answer = await client.post("/api/v1/jobs", json={**body, **more})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


async def findings(client: httpx2.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await client.get("/api/v1/doctor")
    assert answer.status_code == 200, answer.text
    return {finding["code"]: finding for finding in answer.json()["findings"]}


async def sql(store: JobStore, statement: str, **values: Any) -> None:
    async with store.engine.begin() as connection:
        await connection.execute(text(statement), values)


async def test_all_is_well(client: httpx2.AsyncClient, hand: Hand, doctor: Doctor) -> None:
    await hand.store.beat(WORKER)
    await hand.succeed(await submit(client))
    assert (await client.get("/api/v1/doctor")).json() == {
        "status": "well",
        "findings": [],
        "looked_at": ["settings", "host", "record"],
        "not_looked_at": {"broker": "thread mode has none"},
    }


async def test_where_nobody_knows_the_settings_it_says_so(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/doctor")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/capability-unsupported")


async def test_a_job_stays_pending_because_no_worker_runs(client: httpx2.AsyncClient, doctor: Doctor) -> None:
    await submit(client)
    found = await findings(client)
    assert found["no_workers"]["severity"] == "error"
    assert "nobody takes jobs, and 1 are due" in found["no_workers"]["detail"]


async def test_a_job_stays_pending_because_of_its_queues_name(
    client: httpx2.AsyncClient, hand: Hand, doctor: Doctor
) -> None:
    await hand.store.beat(structs.replace(WORKER, queues=("celery", "hihg")))
    await submit(client, queue="high")
    found = await findings(client)
    assert "1 due jobs wait in queue high" in found["queue_unconsumed"]["detail"]
    assert "live workers serve celery, hihg; was hihg meant?" in found["queue_unconsumed"]["detail"]
    assert found["queue_unserved"]["data"]["queues"] == ["low"]


async def test_a_task_that_is_not_registered_on_the_worker(
    client: httpx2.AsyncClient, hand: Hand, doctor: Doctor
) -> None:
    await hand.store.beat(structs.replace(WORKER, tasks=("tests.anything",)))
    job = await submit(client)
    found = await findings(client)
    assert found["task_unknown"]["data"] == {"task": "tests.read", "queue": "celery", "jobs": 1, "example": job}
    assert "TASK_MODULES" in found["task_unknown"]["remedy"]
    assert found["task_unregistered"]["data"]["tasks"] == ["tests.nothing", "tests.read"]


async def fail(hand: Hand, job: str, code: ErrorCode, message: str, type: str | None = None) -> None:
    await hand.store.settle(step.fail(await hand.claim(job), Failure(code=code, message=message, type=type), 0.1))


async def test_an_error_that_is_just_the_tasks_name(client: httpx2.AsyncClient, hand: Hand, doctor: Doctor) -> None:
    await hand.store.beat(WORKER)
    job = await submit(client)
    await fail(hand, job, ErrorCode.TASK_ERROR, "'tests.read'", "KeyError")
    failing = (await findings(client))["task_failing"]
    assert "failed with KeyError: 'tests.read' (task_error). That says no more than a name" in failing["detail"]
    assert failing["data"]["example"] == job
    assert "has not registered it" in failing["remedy"]


async def test_wrong_arguments(client: httpx2.AsyncClient, hand: Hand, doctor: Doctor) -> None:
    await hand.store.beat(WORKER)
    for _ in range(3):
        await fail(
            hand, await submit(client), ErrorCode.TASK_ERROR, "badly formed hexadecimal UUID string", "ValueError"
        )
    failing = (await findings(client))["task_failing"]
    assert (failing["severity"], failing["data"]["failed"]) == ("warning", 3)
    assert "failed with ValueError: badly formed hexadecimal UUID string" in failing["detail"]


async def test_jobs_that_retry_for_ever(client: httpx2.AsyncClient, hand: Hand, doctor: Doctor) -> None:
    await hand.store.beat(WORKER)
    job = await submit(client, max_retries=1000)
    failure = Failure(code=ErrorCode.TASK_ERROR, message="try again", type="OSError")
    for _ in range(10):
        await hand.store.settle(step.retry(await hand.claim(job), failure, 0, 0.1))
    found = await findings(client)
    assert "has 10 attempts behind it" in found["retries_endless"]["detail"]
    assert (
        "10 of the last 10 attempts of task tests.read failed with OSError: try again"
        in found["task_failing"]["detail"]
    )


async def test_a_schedule_does_not_fire(client: httpx2.AsyncClient, hand: Hand, doctor: Doctor) -> None:
    await hand.store.beat(WORKER)
    spec = {"name": "nightly", "task": "tests.nothing", "cron": "0 2 * * *", "timezone": "Asia/Shanghai"}
    assert (await client.post("/api/v1/schedules", json=spec)).status_code == 201
    found = await findings(client)
    assert set(found) == {"schedule_zone"}
    assert "CELERY_TIMEZONE is UTC" in found["schedule_zone"]["detail"]
    await sql(hand.store, "UPDATE schedules SET next_at = next_at - 259200000")
    overdue = (await findings(client))["schedules_overdue"]
    assert overdue["data"]["schedules"] == ["nightly"]
    assert "no process fires schedules" in overdue["detail"]
    assert "executors.scheduler" in overdue["remedy"]


async def test_nobody_looks_after_the_record(client: httpx2.AsyncClient, hand: Hand, doctor: Doctor) -> None:
    await hand.store.beat(WORKER)
    await submit(client, countdown=60)
    await submit(client, held=True, expires=60)
    running = await submit(client)
    await hand.claim(running)
    await sql(hand.store, "UPDATE jobs SET due_at = due_at - 120000, expires_at = expires_at - 120000, "
                          "lease_until = lease_until - 600000")  # fmt: skip
    detail = (await findings(client))["upkeep_absent"]["detail"]
    for word in ("a lease ended", "a delayed job came due", "a job expired"):
        assert word in detail


async def test_a_stale_worker_and_what_it_holds(client: httpx2.AsyncClient, hand: Hand, doctor: Doctor) -> None:
    await hand.store.beat(WORKER)
    await hand.store.beat(structs.replace(WORKER, owner="hand", name="celery@there", host="there"))
    await hand.claim(await submit(client))
    await sql(hand.store, "UPDATE workers SET seen_at = seen_at - 60000 WHERE owner = 'hand'")
    stale = (await findings(client))["worker_stale"]
    assert (stale["severity"], stale["data"]["jobs"]) == ("warning", 1)


class TestBroker:
    """In Celery mode, with a Redis and a relay, but no worker that listens."""

    @pytest.fixture
    def settings(self, store: JobStore, redis_url: str) -> Settings:
        return Settings(database_url=url_of(store), use_celery=True, broker_url=redis_url, queues="high")

    @pytest.fixture
    async def relay(self, store: JobStore, redis_url: str) -> AsyncIterator[CeleryExecutor]:
        relay = CeleryExecutor(store, redis_url, [QUEUES], Patience(life=60, canary=60), Strangers())
        await relay.start()
        yield relay
        await relay.stop(0)

    async def test_a_worker_cannot_reach_redis(
        self, client: httpx2.AsyncClient, hand: Hand, doctor: Doctor, redis_url: str, relay: CeleryExecutor
    ) -> None:
        await hand.store.beat(structs.replace(WORKER, broker="redis://elsewhere:6379/0"))
        await submit(client)
        await eventually_async(hand.store.rung)
        await eventually_async(lambda: _length(redis_url, "celery"))
        await sql(hand.store, "UPDATE jobs SET due_at = due_at - 60000")
        found = await findings(client)
        assert found["worker_deaf"]["data"]["workers"] == ["celery@here"]
        assert "do not reach the broker" in found["worker_deaf"]["detail"]
        assert found["brokers_differ"]["data"]["theirs"] == "redis://elsewhere:6379/0"
        assert found["brokers_differ"]["data"]["ours"] == place_of(redis_url)

    async def test_nobody_rings(self, client: httpx2.AsyncClient, hand: Hand, doctor: Doctor) -> None:
        await hand.store.beat(WORKER)
        await submit(client)
        await sql(hand.store, "UPDATE jobs SET due_at = due_at - 60000")
        assert "nobody tells the broker" in (await findings(client))["relay_absent"]["detail"]
        await sql(hand.store, "UPDATE jobs SET rung_at = due_at")
        assert "has no message" in (await findings(client))["rings_lost"]["detail"]

    async def test_what_lies_in_the_redis(
        self, client: httpx2.AsyncClient, hand: Hand, doctor: Doctor, redis_url: str
    ) -> None:
        await hand.store.beat(WORKER)
        assert await findings(client) == {}
        with redis.Redis.from_url(redis_url) as broker:
            broker.set("celery-task-meta-1", "{}")
            broker.hset("unacked", "tag", "message")
            for _ in range(101):
                broker.lpush("celery", "message")
        found = await findings(client)
        assert set(found) == {"redis_shared", "acks_emulated", "rings_orphaned"}
        assert found["rings_orphaned"]["data"] == {"queue": "celery", "messages": 101, "rung": 0}

    async def test_a_redis_that_throws_keys_away(
        self, client: httpx2.AsyncClient, hand: Hand, doctor: Doctor, redis_url: str
    ) -> None:
        await hand.store.beat(WORKER)
        with redis.Redis.from_url(redis_url) as broker:
            try:
                broker.config_set("maxmemory-policy", "allkeys-lru")
                broker.config_set("maxmemory", "1gb")
                found = await findings(client)
            finally:
                broker.config_set("maxmemory", "0")
                broker.config_set("maxmemory-policy", "noeviction")
        assert found["redis_evicts"]["data"]["policy"] == "allkeys-lru"

    async def test_the_broker_is_away(
        self, client: httpx2.AsyncClient, hand: Hand, control: Control, settings: Settings
    ) -> None:
        await hand.store.beat(WORKER)
        gone = structs.replace(settings, broker_url="redis://user:secret@127.0.0.1:1/0")
        control.doctor = Doctor(gone, REGISTRY, QUEUES, hand.store)
        found = await findings(client)
        assert "redis://127.0.0.1:1/0 does not answer this process" in found["broker_away"]["detail"]
        assert "secret" not in str(found)


def _codes(findings: Any) -> set[str]:
    return {finding.code for finding in findings}


async def test_from_outside_it_sees_the_same(
    client: httpx2.AsyncClient, hand: Hand, doctor: Doctor, settings: Settings
) -> None:
    await submit(client)
    outside = await diagnose(settings)
    assert _codes(outside.findings) == set(await findings(client)) == {"no_workers"}
    assert exit_status(outside.findings) == 2


async def only(**fields: Any) -> Finding:
    settings = Settings(**{"task_modules": ("tests.gateway.support",), **fields})
    (found,) = (await diagnose(settings)).findings
    return found


async def test_from_outside_nothing_is_made(tmp_path: Any) -> None:
    path = tmp_path / "sub" / "jobs.db"
    found = await only(database_url=f"sqlite:///{path}")
    assert (found.code, found.data["path"]) == ("database_absent", str(path))
    assert not path.parent.exists()


async def test_a_schema_of_another_release(store: JobStore, settings: Settings) -> None:
    await sql(store, "UPDATE alembic_version SET version_num = '0000'")
    (found,) = (await diagnose(settings)).findings
    assert (found.code, found.data) == ("schema_differs", {"found": "0000", "needed": "0001"})


async def test_a_database_that_is_away_or_no_database() -> None:
    assert (await only(database_url="postgresql://nobody@127.0.0.1:1/none")).code == "database_away"
    assert (await only(database_url="mysql://127.0.0.1/none")).code == "database_wrong"


async def test_tasks_that_cannot_be_loaded(store: JobStore, settings: Settings) -> None:
    broken = structs.replace(settings, task_modules=("tests.no_such_module",))
    assert "tasks_not_loaded" in _codes((await diagnose(broken)).findings)


async def _length(redis_url: str, queue: str) -> int:
    with redis.Redis.from_url(redis_url) as broker:
        return int(broker.llen(queue))
