"""What there is to see: tasks, queues, workers, figures, health."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from executors.base import Health
from executors.control import Control
from gateway.app import Gateway
from gateway.ops import LINKS
from tasks import repeated_warning
from tasks.admission import new_id
from tasks.errors import StoreUnavailable
from tasks.store.schema import metadata
from tasks.store.store import JobStore
from tasks.worker import Worker
from tests.gateway.conftest import client_of
from tests.gateway.support import Broken, Hand, make_gateway
from tests.store.support import new_job, worker

READ = {"task": "tests.read", "kwargs": {"path": "a.txt"}}
WORKER = Worker(
    owner="host/boot/1/1/ab", name="celery@host", host="host", pid=1, mode="celery", pool="prefork", slots=4, busy=1,
    queues=("celery", "low"), tasks=("tests.read",), version="0.1.0", draining=False,
    instance="here/b00t-1/1/1",
)  # fmt: skip


async def get(client: httpx2.AsyncClient, url: str) -> Any:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_index_leads_to_pages_that_exist(client: httpx2.AsyncClient) -> None:
    index = await get(client, "/")
    assert index["links"] == LINKS
    for url in LINKS.values():
        assert (await client.get(url)).status_code == 200, url


async def test_tasks_come_with_a_schema_of_their_arguments(client: httpx2.AsyncClient) -> None:
    tasks = {task["name"]: task for task in (await get(client, "/api/v1/tasks"))["tasks"]}
    assert list(tasks) == ["tests.anything", "tests.nothing", "tests.read"]
    assert tasks["tests.anything"]["rate_limit"] == "10/m"
    assert tasks["tests.nothing"]["is_async"] is True
    read = await get(client, "/api/v1/tasks/tests.read")
    assert read == tasks["tests.read"]
    assert read["description"] == "Read a file."
    assert read["arguments"]["required"] == ["path"]
    assert read["arguments"]["additionalProperties"] is False


async def test_queues_tell_their_depth_and_who_serves_them(client: httpx2.AsyncClient, hand: Hand) -> None:
    await hand.store.beat(WORKER)
    await client.post("/api/v1/jobs:batch", json={"jobs": [READ] * 3})
    queues = {queue["name"]: queue for queue in (await get(client, "/api/v1/queues"))["queues"]}
    assert list(queues) == ["celery", "high", "low"]
    assert queues["celery"]["depth"] == {"PENDING": 3, "STARTED": 0, "RETRY": 0}
    assert (queues["celery"]["consumers"], queues["celery"]["slots"]) == (1, 4)
    assert 0 <= queues["celery"]["oldest_age"] < 60
    assert (queues["high"]["consumers"], queues["high"]["oldest_age"]) == (0, 0)


async def test_workers_and_figures(client: httpx2.AsyncClient, hand: Hand) -> None:
    await hand.store.beat(WORKER)
    job = (await client.post("/api/v1/jobs", json=READ)).json()
    await client.post("/api/v1/jobs", json=READ)
    await hand.succeed(job["id"])
    (worker,) = (await get(client, "/api/v1/workers"))["workers"]
    assert (worker["name"], worker["slots"], worker["queues"]) == ("celery@host", 4, ["celery", "low"])
    stats = await get(client, "/api/v1/stats")
    assert stats["jobs"] == {"PENDING": 1, "STARTED": 0, "RETRY": 0, "SUCCESS": 1, "FAILURE": 0, "REVOKED": 0}
    assert (stats["total"], stats["workers"], stats["slots"], stats["busy"], stats["mode"]) == (2, 1, 4, 1, "thread")


async def test_capabilities_are_the_executors(client: httpx2.AsyncClient) -> None:
    found = await get(client, "/api/v1/capabilities")
    assert (found["mode"], found["stop_running_sync"], found["priorities"]) == ("thread", "interrupt", 10)


async def test_health(client: httpx2.AsyncClient, hand: Hand, gateway: Gateway) -> None:
    assert await get(client, "/livez") == {"status": "alive"}
    assert await get(client, "/readyz") == {"status": "ready"}
    nobody = {"name": "queues", "status": "ok", "detail": "every queue with due jobs is served"}
    assert (await get(client, "/readyz?verbose"))["checks"][2] == nobody
    hand.well = Health(ok=False, detail="the broker does not answer")
    verbose = await get(client, "/readyz?verbose")
    assert verbose["status"] == "degraded"
    assert verbose["checks"][1] == {"name": "executor", "status": "degraded", "detail": "the broker does not answer"}
    gateway.draining = True
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200


async def test_a_queue_that_nobody_serves_is_told_without_its_name(client: httpx2.AsyncClient, store: JobStore) -> None:
    await store.accept(new_job(queue="left.behind"))
    ready = await get(client, "/readyz?verbose")
    assert (ready["status"], ready["checks"][2]["status"]) == ("degraded", "degraded")
    assert "in 1 queues" in ready["checks"][2]["detail"]
    assert "left.behind" not in str(ready)
    queues = {queue["name"]: queue for queue in (await get(client, "/api/v1/queues"))["queues"]}
    assert (queues["left.behind"]["depth"]["PENDING"], queues["left.behind"]["consumers"]) == (1, 0)
    await store.beat(worker("w", queues=("left.behind",)))
    assert (await get(client, "/readyz"))["status"] == "ready"


async def test_without_its_store_it_is_alive_and_not_ready(client: httpx2.AsyncClient, control: Control) -> None:
    control.store = Broken()  # type: ignore[assignment]  # it breaks while the server runs
    assert (await client.get("/livez")).status_code == 200
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["type"]) == (503, "/problems/not-ready")
    for method, url in [("POST", "/api/v1/jobs"), ("GET", "/api/v1/jobs"), ("GET", "/api/v1/queues")]:
        answer = await client.request(method, url, json=READ if method == "POST" else None)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/store-unavailable"), url
        assert answer.headers["retry-after"] == "1"


async def test_refused_requests_are_one_line_a_second(
    client: httpx2.AsyncClient, control: Control, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_warning, "INTERVAL", 3600.0)
    control.store = Broken()  # type: ignore[assignment]  # it breaks while the server runs
    for _ in range(40):
        assert (await client.post("/api/v1/jobs", json=READ)).status_code == 503
        assert (await client.get("/readyz")).status_code == 503
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 2


async def test_a_drivers_words_are_for_the_log(
    client: httpx2.AsyncClient, control: Control, hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    hand.well = Health(ok=False, detail="the broker is away: ConnectionError: 111 connecting to broker.inside:6379")
    assert (await get(client, "/readyz?verbose"))["checks"][1]["detail"] == "the broker is away"
    words = 'the store cannot be reached: user "jobgate" at db.inside [SQL: SELECT 1]'
    control.store = Broken(StoreUnavailable(words))  # type: ignore[assignment]  # it breaks while the server runs
    ready, read = [await client.get(url) for url in ("/readyz?verbose", "/api/v1/jobs")]
    assert ready.json()["detail"] == "store: it cannot be reached"
    assert "does not answer now" in read.json()["detail"]
    assert caplog.text.count(words) == 2


async def test_what_nobody_foresaw_is_a_500_without_a_trace(
    client: httpx2.AsyncClient, control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    control.store = Broken(RuntimeError("secret"))  # type: ignore[assignment]  # it breaks while the server runs
    answer = await client.get("/api/v1/jobs")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    assert "secret" not in answer.text
    assert "RuntimeError: secret" in caplog.text


async def test_metrics_in_both_dialects(client: httpx2.AsyncClient) -> None:
    await client.post("/api/v1/jobs", json=READ)
    plain = await client.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "jobgate_jobs_submitted_total" in plain.text
    openmetrics = await client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert openmetrics.text.endswith("# EOF\n")
    assert plain.headers["vary"] == "accept, accept-encoding"
    assert plain.headers["content-encoding"] == "gzip", "the client takes it unless told otherwise"
    long = await client.get("/metrics", headers={"accept-encoding": "identity", "accept": "*/*"})
    assert "content-encoding" not in long.headers
    assert int(plain.headers["content-length"]) < int(long.headers["content-length"]) / 4


async def test_the_assistants_addresses(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = (await client.post("/api/v1/jobs", json=READ)).json()
    tasks = "/api/v1/tasks"
    pending = {
        "task_id": job["id"],
        "status": "PENDING",
        "result": None,
        "error": None,
        "date_done": None,
        "runtime": None,
    }
    assert await get(client, f"{tasks}/status/{job['id']}") == pending
    await hand.fail(job["id"])
    failed = await get(client, f"{tasks}/status/{job['id']}")
    assert (failed["status"], failed["error"], failed["runtime"]) == (
        "FAILURE",
        "FileNotFoundError: no such file",
        0.25,
    )
    assert failed["date_done"].endswith("Z")
    again = (await client.post(f"{tasks}/retry/{job['id']}")).json()
    assert set(again) == {"task_id", "status", "message"}
    assert (again["status"], again["task_id"] != job["id"]) == ("PENDING", True)
    cancelled = (await client.post(f"{tasks}/cancel/{again['task_id']}")).json()
    assert cancelled["status"] == "REVOKED"
    listed = await get(client, f"{tasks}/list?limit=50&status=REVOKED")
    assert [task["task_id"] for task in listed["tasks"]] == [again["task_id"]]
    assert await get(client, f"{tasks}/stats") == {
        "total_tasks": 2, "pending": 0, "started": 0, "success": 0, "failure": 1,
        "retry": 0, "revoked": 1, "workers": 0,
    }  # fmt: skip


async def test_the_assistant_sees_a_worker_once_however_many_processes_it_has(
    client: httpx2.AsyncClient, hand: Hand
) -> None:
    for pid in (1, 2):
        await hand.store.beat(Worker(**{name: getattr(WORKER, name) for name in WORKER.__struct_fields__}
                                     | {"owner": f"o{pid}", "pid": pid, "slots": 1}))  # fmt: skip
    (worker,) = (await get(client, "/api/v1/tasks/workers"))["workers"]
    assert (worker["name"], worker["concurrency"], worker["processes"]) == ("celery@host", 2, [1, 2])


@pytest.mark.parametrize("path", ["pool/restart?worker_name=celery@host", "shutdown"])
async def test_a_worker_that_does_not_answer_is_said_not_to(client: httpx2.AsyncClient, hand: Hand, path: str) -> None:
    nobody = await client.post(f"/api/v1/tasks/workers/{path}")
    assert (nobody.status_code, nobody.json()["type"]) == (404, "/problems/worker-not-found")
    await hand.store.beat(WORKER)
    joiner = "&" if "?" in path else "?"
    answer = (await client.post(f"/api/v1/tasks/workers/{path}{joiner}wait=0.2")).json()
    assert answer["message"].endswith(": 1 not answered yet")
    (told,) = answer["workers"]
    assert (told["worker"], told["state"], told["outcome"]) == ("celery@host", "not answered yet", None)
    # Taken by one of its processes, and by one only; of a process that is gone the registry tells the end.
    (command,) = (await hand.store.beat(WORKER)).commands
    assert (command.id, (await hand.store.beat(WORKER)).commands) == (told["id"], [])
    assert (await get(client, "/api/v1/workers/commands"))["commands"][0]["state"] == "under way"
    await hand.store.gone(WORKER.owner)
    ended = (await get(client, "/api/v1/workers/commands"))["commands"][0]
    assert ended["state"] == ("done" if command.verb == "shutdown" else "under way")


async def test_a_command_that_nobody_will_finish_fails(client: httpx2.AsyncClient, hand: Hand) -> None:
    await hand.store.beat(WORKER)
    grow = f"/api/v1/workers/{WORKER.name}/grow?wait=0"
    await client.post(grow)
    assert (await hand.store.beat(WORKER)).commands
    await client.post(grow)
    await client.post(f"/api/v1/workers/{WORKER.name}/restart?wait=0")
    assert {each["state"] for each in (await get(client, "/api/v1/workers/commands"))["commands"]} == {
        "under way",
        "not answered yet",
    }
    await hand.store.gone(WORKER.owner)
    await hand.store.run("UPDATE commands SET asked_at = asked_at - 61000")
    await hand.store.run("UPDATE commands SET taken_at = {now} - 121000, taken_by = 'o' WHERE verb = 'restart'")
    found = (await get(client, "/api/v1/workers/commands"))["commands"]
    assert {(each["state"], each["outcome"]) for each in found} == {
        ("failed", "ended, and did not start again within 2 minutes"),
        ("failed", "the process that began it ended before it answered"),
        ("failed", "no process of the worker took it in time"),
    }


async def test_a_worker_without_a_sign_of_life_is_lost(client: httpx2.AsyncClient, hand: Hand) -> None:
    await hand.store.beat(WORKER)
    assert (await get(client, "/api/v1/workers"))["workers"][0]["state"] == "up"
    await hand.store.run("UPDATE workers SET seen_at = seen_at - 11000")
    found = await get(client, "/api/v1/workers")
    assert (found["workers"], found["lost"][0]["state"]) == ([], "lost")
    await hand.store.beat(WORKER)
    await hand.store.call_deaf(WORKER.instance)
    assert (await get(client, "/api/v1/workers"))["workers"][0]["state"] == "deaf"


async def test_head_is_get_without_a_body_to_routing(client: httpx2.AsyncClient) -> None:
    assert (await client.head("/api/v1/tasks")).status_code == 200


async def test_nothing_of_the_gateway_is_shared_between_two(control: Control) -> None:
    assert make_gateway(control) is not make_gateway(control)


async def test_tables_of_another_release_are_told_and_harm_nothing(client: httpx2.AsyncClient, store: JobStore) -> None:
    await rename(store, "jobs", "tags", "labels")
    for method, url in [("POST", "/api/v1/jobs"), ("GET", "/api/v1/jobs"), ("GET", f"/api/v1/jobs/{new_id()}")]:
        answer = await client.request(method, url, json=READ if method == "POST" else None)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/store-unavailable"), answer.text
        assert "not as this release needs it" in answer.json()["detail"]
    await rename(store, "jobs", "labels", "tags")
    assert await eventually_ok(client, "/readyz")
    assert (await client.post("/api/v1/jobs", json=READ)).status_code == 202


async def test_it_is_not_ready_while_any_column_is_missing(client: httpx2.AsyncClient, store: JobStore) -> None:
    for table in metadata.sorted_tables:
        column = list(table.columns)[-1].name
        await rename(store, table.name, column, "away")
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["type"]) == (503, "/problems/not-ready"), table.name
        assert "its tables are not those of this release" in ready.json()["detail"]
        await rename(store, table.name, "away", column)
        assert await eventually_ok(client, "/readyz"), table.name


async def rename(store: JobStore, table: str, column: str, name: str) -> None:
    async with store.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {table} RENAME COLUMN {column} TO {name}"))


async def eventually_ok(client: httpx2.AsyncClient, url: str) -> bool:
    """The first statement after a change may still meet the driver's knowledge of the table before it."""
    return any([(await client.get(url)).status_code == 200 for _ in range(3)])


async def test_a_flood_that_asks_for_readiness_is_answered_from_one_look(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []
    check_schema = control.store.check_schema

    async def counted() -> None:
        looks.append(None)
        await check_schema()

    monkeypatch.setattr(control.store, "check_schema", counted)
    async with client_of(make_gateway(control, readiness_age=3600.0)) as client:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(50)))
        answers += [await client.get("/readyz?verbose") for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert len(looks) == 1
    assert len(answers[-1].json()["checks"]) == 3


async def test_refusals_are_shared_too(control: Control) -> None:
    gateway = make_gateway(control, readiness_age=3600.0)
    control.store = Broken()  # type: ignore[assignment]  # it breaks while the server runs
    async with client_of(gateway) as client:
        answers = [await client.get("/readyz") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["detail"] for answer in answers} == {"store: it cannot be reached"}
