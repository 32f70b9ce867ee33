"""What operators do to waiting jobs: queues, bulk actions, and the trail that all of it leaves."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import httpx2
import pytest

from executors import bulk as bulks
from executors.control import Control
from gateway import audit
from gateway.operation import Operation
from gateway.routes import OPERATIONS
from gateway.scopes import scope_of
from tasks.bulk import Action, Bulk
from tasks.job import Filter
from tests.gateway.conftest import client_of
from tests.gateway.support import NOBODY, Broken, Hand, make_control, make_gateway
from tests.store.support import ME
from tests.support.waiting import eventually_async

READ = {"task": "tests.read", "kwargs": {"path": "a.txt"}}
QUEUES = "/api/v1/queues"


async def post(client: httpx2.AsyncClient, url: str, body: Any = None, status: int = 200) -> Any:
    answer = await client.post(url, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def submit(client: httpx2.AsyncClient, count: int = 1, **fields: Any) -> list[str]:
    answer = await post(client, "/api/v1/jobs:batch", {"jobs": [{**READ, **fields}] * count}, 202)
    return [job["id"] for job in answer["jobs"]]


async def queues(client: httpx2.AsyncClient) -> dict[str, Any]:
    return {queue["name"]: queue for queue in (await client.get(QUEUES)).json()["queues"]}


async def test_a_paused_queue_is_neither_claimed_from_nor_rung(client: httpx2.AsyncClient, hand: Hand) -> None:
    from tasks.store import rings, statements

    (job,) = await submit(client)
    assert (await post(client, f"{QUEUES}/celery/pause?reason=disk"))["paused"]["reason"] == "disk"
    store = hand.store
    assert await store.claim(job, ME) is None
    order = {"q0": "celery", "q1": "low"}
    assert not await store.run(statements.take([["celery"], ["low"]]), None, **ME, **order, n=5)
    assert not await store.run(rings.ring([["celery"], ["low"]]), None, **order, n=5, n0=5, n1=5)
    assert not await store.has_ready(["celery", "low"])
    assert (await queues(client))["celery"]["paused"]["until"] is None
    await post(client, f"{QUEUES}/celery/resume")
    assert (await queues(client))["celery"]["paused"] is None
    assert await store.claim(job, ME) is not None
    again = await client.post(f"{QUEUES}/celery/resume")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/state-conflict")


async def test_a_limit_lets_nobody_pass_from_a_paused_queue(client: httpx2.AsyncClient, hand: Hand) -> None:
    await hand.store.set_limit("tests.anything", 1.0, None)
    answer = await post(client, "/api/v1/jobs", {"task": "tests.anything"}, 202)
    await post(client, f"{QUEUES}/low/pause")
    assert not await hand.store.take([["low"]], 5, ME)
    assert await hand.store.claim(answer["id"], ME) is None
    await post(client, f"{QUEUES}/low/resume")
    assert await hand.store.claim(answer["id"], ME) is not None


async def test_a_pause_ends_by_itself(client: httpx2.AsyncClient, hand: Hand) -> None:
    (job,) = await submit(client)
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    await post(client, f"{QUEUES}/celery/pause?until={soon.isoformat().replace('+', '%2B')}")

    async def claimed() -> bool:
        return await hand.store.claim(job, ME) is not None

    await eventually_async(claimed)
    assert datetime.now(UTC) >= soon - timedelta(milliseconds=20)
    past = await client.post(f"{QUEUES}/celery/pause?until=2020-01-01T00:00:00Z")
    assert past.status_code == 409


async def test_purging_revokes_what_waits_and_nothing_else(client: httpx2.AsyncClient, hand: Hand) -> None:
    running, *waiting = await submit(client, 4)
    (delayed,) = await submit(client, countdown=60)
    (elsewhere,) = await submit(client, queue="high")
    await hand.claim(running)
    dry = await post(client, f"{QUEUES}/celery/purge?dry_run=true")
    assert (dry["count"], dry["state"], dry["sample"][0]) == (4, "dry run", delayed)
    done = await post(client, f"{QUEUES}/celery/purge")
    assert (done["count"], done["done"], done["state"]) == (4, 4, "done")
    states = {job: (await client.get(f"/api/v1/jobs/{job}")).json()["status"] for job in (running, *waiting, delayed)}
    assert states == {running: "STARTED", **dict.fromkeys([*waiting, delayed], "REVOKED")}
    assert (await client.get(f"/api/v1/jobs/{elsewhere}")).json()["status"] == "PENDING"


async def test_moved_jobs_are_counted_where_they_are(client: httpx2.AsyncClient, hand: Hand) -> None:
    (job, *_) = await submit(client, 3)
    assert (await queues(client))["celery"]["depth"]["PENDING"] == 3
    assert (await post(client, f"{QUEUES}/celery/move?to=high"))["done"] == 3
    await hand.succeed(job)
    found = await queues(client)
    assert (found["celery"]["depth"]["PENDING"], found["high"]["depth"]["PENDING"]) == (0, 2)
    assert found["high"]["rate"] > 0
    events = await hand.store.events(job)
    assert [event.error_message for event in events if event.error_code] == ["moved from queue celery"]
    unknown = await client.post(f"{QUEUES}/celery/move?to=nowhere")
    assert (unknown.status_code, unknown.json()["errors"][0]["parameter"]) == (422, "to")
    assert (await client.post(f"{QUEUES}/nowhere/pause")).json()["type"] == "/problems/unknown-queue"


async def test_a_bulk_retry_makes_one_job_of_each(
    client: httpx2.AsyncClient, hand: Hand, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulks, "CHUNK", 2)
    failed = await submit(client, 5, tags=["a"])
    for job in failed:
        await hand.fail(job)
    await submit(client, 2, tags=["a"])
    wish = {"action": "retry", "filter": {"tag": "a", "status": ["FAILURE"]}}
    dry = await post(client, "/api/v1/bulk", {**wish, "dry_run": True})
    assert (dry["count"], sorted(dry["sample"])) == (5, failed)
    done = await post(client, "/api/v1/bulk?wait=10", wish)
    assert (done["count"], done["done"], done["skipped"], done["failed"]) == (5, 5, 0, 0)
    page = (await client.get("/api/v1/jobs?status=PENDING")).json()["jobs"]
    assert sorted(job["retry_of"] for job in page if job["retry_of"]) == failed
    # Taken over after a crash, as if nothing had been noted: each job still has one twin only, made by this action.
    same = await control.bulks.read(done["id"])
    step = await control.bulks._retry(same, [await control.read(job) for job in failed])
    assert (step.done, step.skipped) == (5, 0)
    assert len((await client.get("/api/v1/jobs?status=PENDING")).json()["jobs"]) == len(page)


async def test_a_bulk_action_goes_on_in_another_process(
    client: httpx2.AsyncClient, hand: Hand, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulks, "CHUNK", 2)
    monkeypatch.setattr(bulks, "LEASE", 0)
    jobs = await submit(client, 5)
    first = await control.bulks.begin(Action.CANCEL, Filter(queue=["celery"]))
    await control.bulks.stop()
    other = make_control(hand.store, hand)
    other.bulks.start()

    async def through() -> bool:
        return (await other.bulks.read(first.id)).state == "done"

    await eventually_async(through)
    await other.bulks.stop()
    assert {(await control.read(job)).status for job in jobs} == {"REVOKED"}


async def test_bulk_verbs(client: httpx2.AsyncClient, hand: Hand) -> None:
    jobs = await submit(client, 3)
    by_tag = {"queue": ["celery"]}
    assert (await post(client, "/api/v1/bulk?wait=9", {"action": "hold", "filter": by_tag}))["done"] == 3
    assert (await client.get("/api/v1/jobs?held=true")).json()["jobs"][0]["id"] == jobs[-1]
    assert (await post(client, "/api/v1/bulk?wait=9", {"action": "release", "filter": by_tag}))["done"] == 3
    await hand.claim(jobs[0])
    assert (await post(client, "/api/v1/bulk?wait=9", {"action": "cancel", "filter": by_tag}))["done"] == 3
    assert hand.told == [jobs[0]]
    assert (await post(client, "/api/v1/bulk?wait=9", {"action": "delete", "filter": by_tag}))["done"] == 2
    assert (await client.get(f"/api/v1/jobs/{jobs[1]}")).status_code == 404
    listed = (await client.get("/api/v1/bulk")).json()["actions"]
    assert [action["action"] for action in listed] == ["delete", "cancel", "release", "hold"]
    assert (await client.get(f"/api/v1/bulk/{listed[0]['id']}")).json() == listed[0]
    assert (await client.get(f"/api/v1/bulk/{NOBODY}")).json()["type"] == "/problems/bulk-not-found"


async def test_deleted_jobs_stay_in_the_counters(client: httpx2.AsyncClient, hand: Hand) -> None:
    before = await hand.store.tallies.totals()
    for job in await submit(client, 3):
        await hand.succeed(job)
    deletion = {"action": "delete", "filter": {"queue": ["celery"]}}
    assert (await post(client, "/api/v1/bulk?wait=9", deletion))["done"] == 3
    after = await hand.store.tallies.totals()
    assert {state: number - before[state] for state, number in after.items() if number != before[state]} == {
        "SUCCESS": 3
    }


async def test_a_job_that_is_not_counted_yet_is_not_deleted(
    client: httpx2.AsyncClient, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulks, "COUNTED", (0.0, 0.0))
    monkeypatch.setattr(hand.store.tallies, "fold", AsyncMock())
    (job,) = await submit(client)
    await hand.succeed(job)
    deletion = {"action": "delete", "filter": {"queue": ["celery"]}}
    answer = await post(client, "/api/v1/bulk?wait=9", deletion)
    assert (answer["done"], answer["skipped"], answer["failed"]) == (0, 0, 1)
    assert "not in the counters yet" in answer["message"]
    assert len(await hand.store.events(job)) == 3
    monkeypatch.undo()
    assert (await post(client, "/api/v1/bulk?wait=9", deletion))["done"] == 1


async def test_a_bulk_action_is_walked_once_and_a_strange_one_ends_no_look(
    client: httpx2.AsyncClient,
    control: Control,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(bulks, "LEASE", -1)
    monkeypatch.setattr(bulks, "LOOK", 0.01)
    await submit(client)
    go_on, walks = asyncio.Event(), []

    async def walk(bulk: Bulk) -> None:
        walks.append(bulk.action)
        await go_on.wait()

    monkeypatch.setattr(control.bulks, "_walk", walk)
    begun = await control.bulks.begin(Action.HOLD, Filter(queue=["celery"]))
    await control.bulks._take_over()
    await control.store.run("UPDATE bulks SET action = 'newer' WHERE id = :id", id=begun.id)
    control.bulks.start()

    async def told() -> bool:
        return "cannot be taken over" in caplog.text

    await eventually_async(told)
    await control.store.run("UPDATE bulks SET action = 'purge' WHERE id = :id", id=begun.id)
    go_on.set()

    async def taken_over() -> bool:
        return walks[:2] == ["hold", "purge"]

    await eventually_async(taken_over)
    await control.bulks.stop()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"action": "cancel", "filter": {}}, "/filter"),
        ({"action": "explode", "filter": {"tag": "a"}}, "/action"),
        ({"action": "cancel", "filter": {"tga": "a"}}, "/filter/tga"),
        ({"action": "cancel", "filter": {"created_after": "today"}}, "/filter/created_after"),
        ({"action": "move", "filter": {"tag": "a"}}, "/to"),
        ({"action": "cancel", "filter": {"tag": "a"}, "to": "high"}, "/to"),
        ({"action": "move", "filter": {"tag": "a"}, "to": "nowhere"}, "/to"),
    ],
)
async def test_a_wrong_bulk_action_is_refused_with_a_pointer(
    shared_client: httpx2.AsyncClient, body: Any, pointer: str
) -> None:
    answer = await shared_client.post("/api/v1/bulk", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_a_wrong_queue_is_told_where_it_stood(shared_client: httpx2.AsyncClient) -> None:
    answer = await shared_client.post("/api/v1/queues/nowhere/pause")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-queue")
    assert "errors" not in answer.json()
    moved = await shared_client.post("/api/v1/queues/celery/move?to=nowhere")
    assert (moved.status_code, moved.json()["errors"][0]["parameter"]) == (422, "to")


async def test_every_change_leaves_a_row_in_the_trail(control: Control) -> None:
    transport = httpx2.ASGITransport(app=make_gateway(control, api_keys=("ops:k1", "shop:k2")))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        client.headers["authorization"] = "Bearer k1"
        (job,) = await submit(client)
        await post(client, f"/api/v1/jobs/{job}/cancel")
        assert (await client.post(f"/api/v1/jobs/{job}/cancel")).status_code == 409
        client.headers["authorization"] = "Bearer k2"
        await post(client, f"{QUEUES}/low/pause?reason=disk")
        first = (await client.get("/api/v1/audit?page_size=2")).json()
        last = (await client.get(f"/api/v1/audit?page_token={first['next_page_token']}")).json()
        entries = [*first["entries"], *last["entries"]]
        assert [(entry["who"], entry["action"], entry["status"]) for entry in entries] == [
            ("shop", "pauseQueue", 200), ("ops", "cancelJob", 409), ("ops", "cancelJob", 200)
        ]  # fmt: skip
        assert entries[0]["target"] == f"{QUEUES}/low/pause?reason=disk"
        assert [entry["outcome"] for entry in entries[::2]] == ["paused", "revoked"]
        assert entries[1]["outcome"].startswith("state-conflict: ")
        assert last["next_page_token"] == ""
        mine = (await client.get("/api/v1/audit?who=shop&action=pauseQueue")).json()["entries"]
        assert len(mine) == 1


async def test_each_refusal_for_a_missing_scope_leaves_a_row_and_a_line(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobgate.audit")
    audited = [operation for operation in OPERATIONS if operation.audited]
    monkeypatch.setattr(audit, "REFUSALS", len(audited))
    transport = httpx2.ASGITransport(app=make_gateway(control, api_keys=("eve:k1:submit", "ops:k2")))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for operation in audited:
            path = re.sub(r"\{\w+\}", NOBODY, operation.path)
            refused = await client.request(operation.method, path, headers={"authorization": "Bearer k1"})
            assert refused.status_code == 403
            trail = await client.get("/api/v1/audit?page_size=1", headers={"authorization": "Bearer k2"})
            (entry,) = trail.json()["entries"]
            assert (entry["who"], entry["action"], entry["target"]) == ("eve", operation.id, path)
            assert entry["status"] == 403
            assert entry["outcome"].startswith(f"missing-scope: this needs a key with the scope {scope_of(operation)}")
            assert f"audit: 'eve' {operation.id} {path!r} answered 403: " in caplog.messages[-1]


async def test_a_flood_of_refusals_does_not_fill_the_trail(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "REFUSALS", 3)
    transport = httpx2.ASGITransport(app=make_gateway(control, api_keys=("eve:k1:read", "bob:k2:read", "ops:k3")))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for key in ["k1"] * 10 + ["k2"]:
            await client.post(f"{QUEUES}/low/pause", headers={"authorization": f"Bearer {key}"})
        trail = await client.get("/api/v1/audit", headers={"authorization": "Bearer k3"})
    assert Counter(entry["who"] for entry in trail.json()["entries"]) == {"eve": 3, "bob": 1}
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "audit: more refusals of 'eve' are not recorded within 60 s"
    ]
    cap = audit.RefusalCap()
    assert [cap.allows("eve", now) for now in (0.0, 1.0, 2.0, 3.0, 60.0)] == [True, True, True, False, True]


async def test_the_trail_says_what_was_changed(client: httpx2.AsyncClient) -> None:
    url = "/api/v1/tasks/tests.read/limits"
    await client.put(url, json={"rate_limit": "120/m", "concurrency": 1})
    await client.delete(url)
    spec = {"name": "nightly", "task": "tests.read", "kwargs": {"path": "secret"}, "cron": "0 1 * * *"}
    assert (await client.post("/api/v1/schedules", json=spec)).status_code == 201
    change = {"cron": "0 2 * * *", "kwargs": {"path": "hidden"}, "priority": 3, "enabled": False}
    assert (await client.patch("/api/v1/schedules/nightly", json=change)).status_code == 200
    await client.patch("/api/v1/schedules/nightly", json={"priority": 3})
    entries = (await client.get("/api/v1/audit")).json()["entries"]
    found = [entry["outcome"] for entry in entries]
    assert found == [
        "nothing changed",
        'cron: "0 1 * * *" -> "0 2 * * *"; kwargs; priority: null -> 3; enabled: true -> false',
        "ok",
        "concurrency: 1 -> null; overridden: true -> false; starts_per_second: 2.0 -> null",
        "concurrency: null -> 1; overridden: false -> true; starts_per_second: null -> 2.0",
    ]


async def test_a_change_that_meets_a_store_that_is_away_is_in_the_log(
    control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobgate.audit")
    gateway = make_gateway(control)
    gateway.control = Broken()  # type: ignore[assignment]  # every verb of it fails
    async with client_of(gateway) as client:
        assert (await client.post(f"/api/v1/jobs/{NOBODY}/cancel")).status_code == 503
    lines = [record.getMessage() for record in caplog.records if record.name == "jobgate.audit"]
    assert len(lines) == 1
    assert lines[0].startswith(f"audit: 'loopback' cancelJob '/api/v1/jobs/{NOBODY}/cancel' answered 503: ")


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.id for operation in OPERATIONS])
def test_only_plain_submissions_are_left_out_of_the_trail(operation: Operation) -> None:
    if operation.method != "GET" and not operation.audited:
        assert 202 in operation.answers, "what is no submission belongs into the trail"


async def test_a_tasks_limits_are_changed_while_it_waits(client: httpx2.AsyncClient, hand: Hand) -> None:
    url = "/api/v1/tasks/tests.read/limits"
    nothing = {"task": "tests.read", "starts_per_second": None, "concurrency": None, "overridden": False}
    assert (await client.get(url)).json() == nothing
    first, second = await submit(client, 2)
    limited = await client.put(url, json={"rate_limit": "120/m", "concurrency": 1})
    assert limited.json() == {**nothing, "starts_per_second": 2.0, "concurrency": 1, "overridden": True}
    assert await hand.store.claim(first, ME) is not None
    assert await hand.store.claim(second, ME) is None
    assert (await client.delete(url)).json() == nothing
    assert await hand.store.claim(second, ME) is not None
    for body, pointer in [({"rate_limit": "often"}, "/rate_limit"), ({"concurrency": 0}, "/concurrency")]:
        refused = await client.put(url, json=body)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    assert (await client.put("/api/v1/tasks/nobody/limits", json={})).json()["type"] == "/problems/task-not-found"


async def test_jobs_of_one_concurrency_key_wait_for_each_other(client: httpx2.AsyncClient, hand: Hand) -> None:
    _, second = await submit(client, 2, concurrency_key="customer 7")
    await submit(client, concurrency_key="customer 8")
    assert len(await hand.store.take([["celery"]], 5, ME)) == 2
    assert await hand.store.claim(second, ME) is None
    await post(client, f"/api/v1/jobs/{second}/cancel")
    again = await post(client, f"/api/v1/jobs/{second}/retry", None, 202)
    assert await hand.store.claim(again["id"], ME) is None, "a retry keeps the key"
    refused = await client.post("/api/v1/jobs", json={**READ, "concurrency_key": ""})
    assert refused.json()["errors"][0]["pointer"] == "/concurrency_key"
