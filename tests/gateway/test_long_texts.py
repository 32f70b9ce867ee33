"""A text of a hundred thousand characters in any place of a request is refused, or named in a short answer."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from gateway.problems import MAX_TEXT, Fault, Refusal, in_body, in_parameter
from tests.gateway.support import NOBODY

LONG = "x" * 100_000
#: An answer has a detail, a place and an address at most, each three bytes a character where it is quoted.
SHORT = 6 * MAX_TEXT
#: uvicorn takes no longer head than 64 KiB; the queries here are as long.
QUERY = "x" * 60_000

SCHEDULE = {"name": "a", "task": "tests.nothing"}
BODIES: list[tuple[str, Any]] = [
    ("/api/v1/jobs", {"task": LONG}),
    ("/api/v1/jobs", {"task": f"a.{LONG}_task"}),
    ("/api/v1/jobs", {"task": "tests.nothing", "queue": LONG}),
    ("/api/v1/jobs", {"task": "tests.nothing", "eta": LONG}),
    ("/api/v1/jobs", {"task": "tests.nothing", "expires": LONG}),
    ("/api/v1/jobs", {"task": "tests.nothing", "tags": [LONG]}),
    ("/api/v1/jobs", {"task": "tests.nothing", "tags": ["a"] * 100_000}),
    ("/api/v1/jobs", {"task": "tests.nothing", "concurrency_key": LONG}),
    ("/api/v1/jobs", {"task": "tests.nothing", "kwargs": {LONG: 1}}),
    ("/api/v1/jobs", {"task": "tests.nothing", "kwargs": {"/~" * 50_000: 1}}),
    ("/api/v1/jobs", {"task": "tests.nothing", "args": [LONG]}),
    ("/api/v1/jobs", {"task": "tests.read", "kwargs": {"path": {LONG: LONG}}}),
    ("/api/v1/jobs", {"task": "tests.read", "kwargs": {"path": "a", LONG: 1}}),
    ("/api/v1/jobs", {LONG: 1}),
    ("/api/v1/jobs", {"task": "tests.nothing", "priority": LONG}),
    ("/api/v1/jobs:batch", {"jobs": [{"task": LONG}]}),
    ("/api/v1/jobs:batch", {"jobs": [{LONG: 1}]}),
    ("/api/v1/bulk", {"action": LONG}),
    ("/api/v1/bulk", {"action": "cancel", "filter": {LONG: 1}}),
    ("/api/v1/schedules", {**SCHEDULE, "cron": LONG}),
    ("/api/v1/schedules", {**SCHEDULE, "cron": f"*/{'9' * 100_000} * * * *"}),
    ("/api/v1/schedules", {**SCHEDULE, "cron": f"{LONG}/2 * * * *"}),
    ("/api/v1/schedules", {**SCHEDULE, "cron": "1 " * 50_000}),
    ("/api/v1/schedules", {**SCHEDULE, "at": LONG}),
    ("/api/v1/schedules", {**SCHEDULE, "every": 60, "timezone": LONG}),
    ("/api/v1/schedules", {**SCHEDULE, "every": 60, "task": LONG}),
    ("/api/v1/schedules", {**SCHEDULE, "every": 60, "queue": LONG}),
    ("/api/v1/schedules", {**SCHEDULE, "every": 60, "name": LONG}),
    ("/api/v1/schedules", {**SCHEDULE, "every": 60, LONG: 1}),
]
ADDRESSES = [
    f"/{QUERY}",
    f"/{'%C3%A9' * 10_000}",
    f"/api/v1/jobs/{QUERY}",
    f"/api/v1/jobs/{QUERY}/why",
    f"/api/v1/tasks/{QUERY}",
    f"/api/v1/tasks/{QUERY}/limits",
    f"/api/v1/queues/{QUERY}",
    f"/api/v1/schedules/{QUERY}",
    f"/api/v1/bulk/{QUERY}",
    f"/api/v1/workers/{QUERY}",
    f"/api/v1/jobs/{NOBODY}/logs?{QUERY}=1",
    *(
        f"/api/v1/jobs?{query}"
        for query in (
            f"{QUERY}=1",
            f"state={QUERY}",
            f"queue={QUERY}",
            f"queue={'q,' * 30_000}",
            f"task={QUERY}",
            f"tag={QUERY}",
            f"page_token={QUERY}",
            f"page_token={'YQ' * 30_000}",
            f"limit={'9' * 60_000}",
            f"created_after={QUERY}",
            f"&{'a=1&' * 90}{QUERY}=1",
        )
    ),
]


def check(answer: httpx2.Response) -> None:
    assert answer.status_code < 500, answer.text[:500]
    assert len(answer.content) < SHORT, f"{answer.status_code} {answer.text[:500]}"
    if answer.status_code >= 400:
        assert answer.json()["detail"]


@pytest.mark.parametrize(("path", "body"), BODIES, ids=range(len(BODIES)))
async def test_a_long_text_in_a_body(shared_client: httpx2.AsyncClient, path: str, body: Any) -> None:
    content = json.dumps(body).encode()
    answer = await shared_client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code >= 400
    check(answer)


@pytest.mark.parametrize("address", ADDRESSES, ids=range(len(ADDRESSES)))
async def test_a_long_text_in_an_address(shared_client: httpx2.AsyncClient, address: str) -> None:
    check(await shared_client.get(address))


@pytest.mark.parametrize("name", ["Idempotency-Key", "Prefer", "Last-Event-ID", "Host", "Origin", "Content-Type"])
async def test_a_long_text_in_a_header(shared_client: httpx2.AsyncClient, name: str) -> None:
    headers = {"content-type": "application/json", name.lower(): QUERY}
    # No such task: nothing is left behind for the other tests of this store.
    check(await shared_client.post("/api/v1/jobs", content=b'{"task":"no.such"}', headers=headers))


def test_a_shortened_text_keeps_what_is_wrong_and_what_to_do() -> None:
    refusal = in_body("unknown-task", f"no task '{LONG}' is registered; GET /api/v1/tasks lists them", f"/a/{LONG}")
    assert refusal.detail.startswith("no task 'xxx")
    assert refusal.detail.endswith("xxx' is registered; GET /api/v1/tasks lists them")
    assert all(len(text or "") <= MAX_TEXT for fault in refusal.faults for text in (fault.detail, fault.pointer))
    usual = Refusal("not-found", "x" * MAX_TEXT, [Fault(detail="a", pointer="")])
    assert (usual.detail, usual.faults) == ("x" * MAX_TEXT, (Fault(detail="a", pointer=""),))
    assert in_parameter(LONG, "is unknown").detail.endswith(": is unknown")
