"""A job's life over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from gateway.app import Gateway
from tests.gateway.support import Hand

JOBS = "/api/v1/jobs"
READ = {"task": "tests.read", "kwargs": {"path": "a.txt"}}
SHAPE = {
    "id", "task", "status", "queue", "priority", "mode", "attempt", "retries", "max_retries", "created_at", "due_at",
    "started_at", "finished_at", "expires_at", "runtime", "progress", "result", "result_expired", "error", "tags",
    "retry_of", "held", "cancel_requested", "args", "kwargs", "soft_time_limit", "time_limit", "worker",
}  # fmt: skip


async def submit(client: httpx2.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post(JOBS, json={**READ, **more})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_a_job_is_accepted_and_can_be_read_where_it_is_said(client: httpx2.AsyncClient) -> None:
    answer = await client.post(JOBS, json={**READ, "tags": ["a", "b"], "priority": 7})
    assert answer.status_code == 202
    job = answer.json()
    assert set(job) == SHAPE
    assert (job["status"], job["queue"], job["priority"], job["mode"]) == ("PENDING", "celery", 7, "thread")
    assert (job["args"], job["kwargs"], job["tags"]) == ([], {"path": "a.txt"}, ["a", "b"])
    assert job["created_at"] == job["due_at"]
    assert job["created_at"].endswith("Z")
    assert answer.headers["location"] == f"{JOBS}/{job['id']}"
    assert (await client.get(answer.headers["location"])).json() == job


async def test_a_list_leaves_out_what_is_long(client: httpx2.AsyncClient, hand: Hand) -> None:
    """200 jobs of a megabyte each, which any reader may ask for, must not be an answer of 200 MB."""
    long = "x" * 300_000
    short, large, done = [await submit(client, kwargs={"path": path}) for path in ("a.txt", long, "b.txt")]
    await hand.succeed(done["id"], long)
    page = (await client.get(JOBS)).json()
    rows = {job["id"]: job for job in page["jobs"]}
    assert all(set(job) == SHAPE | {"shortened"} for job in page["jobs"])
    assert (rows[short["id"]]["args"], rows[short["id"]]["kwargs"]) == ([], {"path": "a.txt"})
    assert [rows[job["id"]]["shortened"] for job in (short, large, done)] == [False, True, True]
    assert (rows[large["id"]]["args"], rows[large["id"]]["kwargs"]) == (None, None)
    assert (rows[done["id"]]["kwargs"], rows[done["id"]]["result"]) == ({"path": "b.txt"}, None)
    assert (await client.get(f"{JOBS}/{done['id']}")).json()["result"] == long
    assert len((await client.get(JOBS)).content) < 5_000


async def test_a_full_list_has_pages_of_a_megabyte(client: httpx2.AsyncClient) -> None:
    ids = [(await submit(client, kwargs={"path": "x" * 300_000}))["id"] for _ in range(7)]
    ids.append((await submit(client, kwargs={"path": "x" * 1_040_000}))["id"])
    found, token, sizes = [], "", []
    while token or not found:
        page = (await client.get(f"{JOBS}?full=true&page_token={token}")).json()
        found += [job["id"] for job in page["jobs"]]
        sizes.append(len(page["jobs"]))
        assert not any(job["shortened"] for job in page["jobs"])
        token = page["next_page_token"]
    assert found == ids[::-1]
    assert sizes == [1, 3, 3, 1]


async def test_a_delay_an_expiry_and_limits_are_kept(client: httpx2.AsyncClient) -> None:
    job = await submit(client, eta="2030-01-31T10:00:00+01:00", expires="2031-01-01T00:00:00Z", time_limit=5, held=True)
    assert job["due_at"] == "2030-01-31T09:00:00.000Z"
    assert job["expires_at"] == "2031-01-01T00:00:00.000Z"
    assert (job["time_limit"], job["held"]) == (5.0, True)
    assert (await client.get(f"{JOBS}/{job['id']}")).json() == job


async def test_text_of_all_the_world_comes_back(client: httpx2.AsyncClient) -> None:
    path = 'naïve 文件 🗂 \u2028 " \\ /'
    job = await submit(client, kwargs={"path": path})
    assert (await client.get(f"{JOBS}/{job['id']}")).json()["kwargs"] == {"path": path}


async def test_success_has_a_result(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = await submit(client)
    await hand.succeed(job["id"], {"pages": [1, 2]})
    done = (await client.get(f"{JOBS}/{job['id']}")).json()
    assert (done["status"], done["result"], done["error"]) == ("SUCCESS", {"pages": [1, 2]}, None)
    assert (done["attempt"], done["runtime"]) == (1, 0.25)
    assert (await client.get(f"{JOBS}/{job['id']}/result")).json() == {"pages": [1, 2]}


async def test_failure_has_a_reason_and_no_result(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = await submit(client)
    early = await client.get(f"{JOBS}/{job['id']}/result")
    assert (early.status_code, early.json()["type"]) == (409, "/problems/state-conflict")
    await hand.fail(job["id"])
    done = (await client.get(f"{JOBS}/{job['id']}")).json()
    assert done["error"] == {
        "code": "task_error",
        "type": "FileNotFoundError",
        "message": "no such file",
        "traceback": "Traceback …",
    }
    answer = await client.get(f"{JOBS}/{job['id']}/result")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/job-failed")
    assert "no such file" in answer.json()["detail"]


async def test_attempts_tell_how_each_run_ended(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = await submit(client)
    await hand.fail(job["id"])
    (attempt,) = (await client.get(f"{JOBS}/{job['id']}/attempts")).json()["attempts"]
    assert (attempt["attempt"], attempt["status"], attempt["worker"]) == (1, "FAILURE", "hand")
    assert attempt["error"]["type"] == "FileNotFoundError"
    assert attempt["started_at"] <= attempt["ended_at"]


async def test_logs_are_read_on_from_where_one_stopped(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = await submit(client)
    attempt = await hand.claim(job["id"])
    lines = [[job["id"], attempt.attempt, "info", f"line {n}"] for n in range(3)]
    await hand.store.report("hand", lines=lines)
    first = (await client.get(f"{JOBS}/{job['id']}/logs?limit=2")).json()
    assert [line["message"] for line in first["lines"]] == ["line 0", "line 1"]
    rest = (await client.get(f"{JOBS}/{job['id']}/logs?after={first['next_after']}")).json()
    assert [line["message"] for line in rest["lines"]] == ["line 2"]
    nothing = (await client.get(f"{JOBS}/{job['id']}/logs?after={rest['next_after']}")).json()
    assert nothing == {"lines": [], "next_after": rest["next_after"]}


async def test_a_cancel_says_what_it_did(client: httpx2.AsyncClient, hand: Hand) -> None:
    waiting, running = await submit(client), await submit(client)
    done = (await client.post(f"{JOBS}/{waiting['id']}/cancel")).json()
    assert (done["action"], done["job"]["status"]) == ("revoked", "REVOKED")
    await hand.claim(running["id"])
    asked = (await client.post(f"{JOBS}/{running['id']}/cancel")).json()
    assert (asked["action"], asked["job"]["status"], asked["job"]["cancel_requested"]) == ("asked", "STARTED", True)
    assert hand.told == [running["id"]]
    again = await client.post(f"{JOBS}/{waiting['id']}/cancel")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/state-conflict")


async def test_hold_and_release(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = await submit(client)
    assert (await client.post(f"{JOBS}/{job['id']}/hold")).json()["held"] is True
    assert (await client.post(f"{JOBS}/{job['id']}/release")).json()["held"] is False
    await hand.succeed(job["id"])
    assert (await client.post(f"{JOBS}/{job['id']}/hold")).status_code == 409


async def test_a_retry_is_a_new_job(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = await submit(client, tags=["t"])
    assert (await client.post(f"{JOBS}/{job['id']}/retry")).status_code == 409
    await hand.fail(job["id"])
    answer = await client.post(f"{JOBS}/{job['id']}/retry")
    again = answer.json()
    assert (answer.status_code, again["retry_of"], again["kwargs"]) == (202, job["id"], job["kwargs"])
    assert answer.headers["location"] == f"{JOBS}/{again['id']}"
    found = (await client.get(f"{JOBS}?retry_of={job['id']}")).json()["jobs"]
    assert [each["id"] for each in found] == [again["id"]]


async def test_a_batch_is_accepted_in_order(client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"{JOBS}:batch", json={"jobs": [{**READ, "priority": n % 10} for n in range(100)]})
    assert answer.status_code == 202
    batch = answer.json()
    assert batch["count"] == len(batch["jobs"]) == 100
    assert set(batch["jobs"][0]) == {"id", "status"}
    third = (await client.get(f"{JOBS}/{batch['jobs'][3]['id']}")).json()
    assert third["priority"] == 3


async def test_a_batch_of_10_000_passes(client: httpx2.AsyncClient) -> None:
    nested = {"task": "tests.anything", "kwargs": {"a": [[1, 2], {"b": [3]}], "text": "é" * 20}}
    answer = await client.post(f"{JOBS}:batch", json={"jobs": [nested] * 10_000}, timeout=60)
    assert answer.status_code == 202, answer.text[:500]
    assert answer.json()["count"] == 10_000


async def test_pages_follow_each_other_without_gap(client: httpx2.AsyncClient) -> None:
    ids = [(await submit(client))["id"] for _ in range(5)]
    found, token = [], ""
    for size in (2, 2, 1):
        page = (await client.get(f"{JOBS}?page_size=2&page_token={token}")).json()
        assert len(page["jobs"]) == size
        found += [job["id"] for job in page["jobs"]]
        token = page["next_page_token"]
    assert token == ""
    assert found == ids[::-1]


async def test_a_page_has_at_most_200_jobs(client: httpx2.AsyncClient) -> None:
    await client.post(f"{JOBS}:batch", json={"jobs": [READ] * 201})
    page = (await client.get(f"{JOBS}?page_size=9999999999")).json()
    assert len(page["jobs"]) == 200
    assert page["next_page_token"]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("status=PENDING", ["b", "c"]),
        ("status=SUCCESS&status=PENDING", ["a", "b", "c"]),
        ("status=SUCCESS,PENDING", ["a", "b", "c"]),
        ("task=tests.anything", ["c"]),
        ("queue=low,high", ["b", "c"]),
        ("queue=low&status=SUCCESS", []),
        ("tag=x", ["b"]),
        ("tag=%22", []),
        ("created_before=2020-01-01T00:00:00Z", []),
        ("created_after=2020-01-01T00:00:00Z", ["a", "b", "c"]),
        ("finished_after=2020-01-01T00:00:00Z", ["a"]),
    ],
)
async def test_jobs_are_found_by_what_is_known_of_them(
    client: httpx2.AsyncClient, hand: Hand, query: str, wanted: list[str]
) -> None:
    a = await submit(client, kwargs={"path": "a"})
    await submit(client, kwargs={"path": "b"}, queue="high", tags=["x", "y"])
    await submit(client, task="tests.anything", kwargs={"path": "c"})
    await hand.succeed(a["id"])
    found = (await client.get(f"{JOBS}?{query}")).json()["jobs"]
    assert sorted(job["kwargs"]["path"] for job in found) == wanted


async def test_the_same_key_is_the_same_job(client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "order-4711"}
    first = await client.post(JOBS, json=READ, headers=key)
    again = await client.post(JOBS, json=dict(reversed(READ.items())), headers=key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    other = await client.post(JOBS, json={**READ, "priority": 1}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-mismatch")
    assert first.json()["id"] in other.json()["detail"]


async def test_a_caller_may_wait_for_the_end(client: httpx2.AsyncClient, hand: Hand) -> None:
    async def run_what_comes() -> None:
        while not (jobs := (await client.get(f"{JOBS}?status=PENDING")).json()["jobs"]):
            await asyncio.sleep(0.01)
        await hand.succeed(jobs[0]["id"], 42)

    runs = asyncio.create_task(run_what_comes())
    answer = await client.post(JOBS, json=READ, headers={"prefer": "respond-async, wait=20"})
    await runs
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=20")
    assert answer.json()["result"] == 42


async def test_a_wait_that_was_too_short_is_a_202(client: httpx2.AsyncClient) -> None:
    answer = await client.post(JOBS, json=READ, headers={"prefer": "wait=0"})
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
    assert answer.headers["preference-applied"] == "wait=0"


@pytest.mark.parametrize("prefer", ["wait=soon", "return=minimal", "wait", ""])
async def test_a_preference_that_is_not_understood_is_ignored(client: httpx2.AsyncClient, prefer: str) -> None:
    assert (await client.post(JOBS, json=READ, headers={"prefer": prefer})).status_code == 202


async def test_reading_may_wait_as_well(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = await submit(client)
    runs = asyncio.create_task(hand.succeed_soon(job["id"]))
    assert (await client.get(f"{JOBS}/{job['id']}?wait=20")).json()["status"] == "SUCCESS"
    await runs
    assert (await client.get(f"{JOBS}/{job['id']}", headers={"prefer": "wait=5"})).json()["status"] == "SUCCESS"


async def test_nobody_waits_for_a_server_that_ends(client: httpx2.AsyncClient, gateway: Gateway) -> None:
    job = await submit(client)
    gateway.draining = True
    assert (await client.get(f"{JOBS}/{job['id']}?wait=60")).json()["status"] == "PENDING"


async def test_an_unchanged_job_is_not_sent_twice(client: httpx2.AsyncClient, hand: Hand) -> None:
    url = f"{JOBS}/{(await submit(client))['id']}"
    tag = (await client.get(url)).headers["etag"]
    same = await client.get(url, headers={"if-none-match": f'"x", W/{tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await hand.succeed(url.rpartition("/")[2])
    assert (await client.get(url, headers={"if-none-match": tag})).status_code == 200


async def test_a_result_that_was_kept_long_enough_is_gone(client: httpx2.AsyncClient, hand: Hand) -> None:
    job = await submit(client)
    await hand.succeed(job["id"])
    await hand.expire_results()
    answer = await client.get(f"{JOBS}/{job['id']}/result")
    assert (answer.status_code, answer.json()["type"]) == (410, "/problems/result-expired")
    read = (await client.get(f"{JOBS}/{job['id']}")).json()
    assert (read["status"], read["result"], read["result_expired"]) == ("SUCCESS", None, True)
