"""Sessions and the tasks around schedules, over HTTP and on each kind of database."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from tasks.packs.backoffice import sessions
from tasks.packs.backoffice.tables import DATABASE, SESSIONS, now
from tests.packs.office import client, office, ran
from tests.support.waiting import eventually_async

__all__ = ["client", "office"]

SESSION = "/api/backoffice/sessions"
HOUR = 3_600_000
DAY = 24 * HOUR


async def opened(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post(SESSION, json={"user_id": "ann", **fields})
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    return session


async def move(session_id: str, **by: int) -> None:
    """Put moments of a session so many milliseconds back."""
    back = {name: getattr(SESSIONS.c, name) - age for name, age in by.items()}
    async with DATABASE.writing() as tables:
        await tables.execute(update(SESSIONS).where(SESSIONS.c.id == session_id).values(back))


async def let_expire(session_id: str, age: int = 10 * HOUR) -> None:
    await move(session_id, opened_at=age, seen_at=age, expires_at=age)


async def test_a_session_is_opened_touched_and_closed(client: httpx2.AsyncClient) -> None:
    session = await opened(client, ip="2001:db8::1", user_agent="Firefox", ttl=60)
    assert (session["state"], session["ended_at"], session["ip"]) == ("open", None, "2001:db8::1")
    at = f"{SESSION}/{session['id']}"
    await move(session["id"], opened_at=30_000, seen_at=30_000, expires_at=30_000)
    touched = (await client.post(f"{at}/touch")).json()
    assert touched["seen_at"] > touched["opened_at"]
    assert touched["expires_at"] >= session["expires_at"]
    closed = (await client.post(f"{at}/close")).json()
    assert (closed["state"], closed["ended_at"] >= touched["seen_at"]) == ("closed", True)
    assert (await client.post(f"{at}/close")).json() == closed == (await client.get(at)).json()
    late = await client.post(f"{at}/touch")
    assert (late.status_code, late.json()["type"]) == (409, "/problems/state-conflict")


async def test_a_session_over_its_time_is_expired_before_anybody_cleans_up(client: httpx2.AsyncClient) -> None:
    session = await opened(client)
    at = f"{SESSION}/{session['id']}"
    await let_expire(session["id"])
    assert (await client.get(at)).json()["state"] == "expired"
    assert (await client.post(f"{at}/touch")).status_code == 409
    before = (await client.post(f"{at}/close")).json()
    assert (before["state"], before["ended_at"]) == ("expired", None), "what is over cannot be closed"
    assert await ran(client, "auth.cleanup_expired_sessions") == {"expired": 1}
    after = (await client.get(at)).json()
    assert (after["state"], after["ended_at"]) == ("expired", after["expires_at"])
    assert await ran(client, "auth.cleanup_expired_sessions") == {"expired": 0}


async def test_only_sessions_that_ended_long_ago_are_deleted(client: httpx2.AsyncClient) -> None:
    old, young, lives = [await opened(client, user_id=name) for name in ("old", "young", "lives")]
    for session, age in ((old, 31 * DAY), (young, 29 * DAY)):
        await client.post(f"{SESSION}/{session['id']}/close")
        await move(session["id"], opened_at=age, seen_at=age, expires_at=age, ended_at=age)
    await move(lives["id"], opened_at=90 * DAY)
    assert await ran(client, "auth.cleanup_old_sessions") == {"deleted": 1}
    left = (await client.get(SESSION)).json()["sessions"]
    assert [session["user_id"] for session in left] == ["lives", "young"]
    assert await ran(client, "auth.cleanup_old_sessions", days=0) == {"deleted": 1}


async def test_they_are_counted_and_the_figures_kept(client: httpx2.AsyncClient) -> None:
    empty = await ran(client, "auth.session_statistics")
    assert (empty["total"], empty["mean_seconds"]) == (0, None)
    made = [await opened(client, user_id=name) for name in ("ann", "ann", "bob", "eve", "eve")]
    await let_expire(made[3]["id"], 2 * DAY)
    await client.post(f"{SESSION}/{made[4]['id']}/close")
    await move(made[4]["id"], opened_at=90_000)
    figures = await ran(client, "auth.session_statistics")
    assert figures.pop("mean_seconds") == pytest.approx(90, abs=10)
    assert figures == {"total": 5, "open": 3, "closed": 1, "expired": 1, "users": 2, "opened_last_day": 4}
    shown = (await client.get("/api/backoffice/session-statistics")).json()
    assert shown["now"]["open"] == 3
    assert [each["total"] for each in shown["noted"]] == [5, 0]


async def test_a_second_run_of_a_job_writes_no_second_row(client: httpx2.AsyncClient) -> None:
    await sessions.note("job-1")
    await sessions.note("job-1")
    assert len(await sessions.noted(10)) == 1


async def test_they_are_listed_in_pages(client: httpx2.AsyncClient) -> None:
    made = [await opened(client, user_id=user) for user, _ in itertools.product(("ann", "bob"), range(3))]
    await client.post(f"{SESSION}/{made[5]['id']}/close")
    pages = [(await client.get(SESSION, params={"limit": 4, "before": before})).json()["sessions"]
             for before in ("", made[2]["id"])]  # fmt: skip  # one list
    assert [each["id"] for page in pages for each in page] == [each["id"] for each in reversed(made)]
    bobs = (await client.get(SESSION, params={"user_id": "bob", "state": "open"})).json()["sessions"]
    assert [each["id"] for each in bobs] == [made[4]["id"], made[3]["id"]]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"user_id": ""}, "/user_id"),
        ({"user_id": "ann", "ttl": 0}, "/ttl"),
        ({"user_id": "ann", "ip": "x" * 46}, "/ip"),
        ({"user_id": "ann", "admin": True}, "/admin"),
    ],
)
async def test_a_wrong_session_is_told_where(client: httpx2.AsyncClient, body: Any, pointer: str) -> None:
    answer = await client.post(SESSION, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_one_that_is_not_there(client: httpx2.AsyncClient) -> None:
    gone = "01a201df-7389-75ac-b847-667e5c6ef0fb"
    for name in (gone, "x", "%00", f"{gone}%0A"):
        answer = await client.post(f"{SESSION}/{name}/touch")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_the_table_refuses_what_cannot_be(client: httpx2.AsyncClient) -> None:
    row = {"id": "1", "user_id": "a", "ip": "", "user_agent": "", "ttl": 1, "opened_at": now(), "seen_at": now()}
    for wrong in ({"expires_at": now()}, {"expires_at": now() + 1, "ended_at": now()},
                  {"expires_at": now() + 1, "ended_at": now(), "ended": "lost"}):  # fmt: skip  # one list
        with pytest.raises(IntegrityError):
            async with DATABASE.writing() as tables:
                await tables.execute(insert(SESSIONS).values(**row, **wrong))


async def test_the_test_task_says_what_it_is_told(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/v1/jobs?wait=20", json={"task": "scheduled_task.test_task", "args": ["hello"]})
    job = (await client.get(answer.headers["location"] + "?wait=20")).json()
    assert (job["result"]["message"], job["result"]["job_id"], job["queue"]) == ("hello", job["id"], "celery")
    log = (await client.get(f"/api/v1/jobs/{job['id']}/logs")).json()
    assert "test task: hello" in str(log)


async def test_old_logs_are_those_of_jobs_and_of_schedules(client: httpx2.AsyncClient) -> None:
    made = await client.post(
        "/api/v1/scheduled-tasks",
        json={"task_name": "try", "task_path": "scheduled_task.test_task", "task_crontab_minute": "0"},
    )
    assert made.status_code == 201, made.text
    for _ in range(2):
        fired = (await client.post(f"/api/v1/scheduled-tasks/{made.json()['id']}/run")).json()
        job_id = fired["id"]
        assert (await client.get(f"/api/v1/jobs/{job_id}?wait=20")).json()["status"] == "SUCCESS"
    await ran(client, "auth.session_statistics")
    kept = await ran(client, "scheduled_task.cleanup_old_logs", days=1)
    assert kept == {"log_lines": 0, "fire_times": 0, "agent_runs": 0, "session_statistics": 0}

    counted = Counter[str]()

    async def all_gone() -> bool:
        counted.update(await ran(client, "scheduled_task.cleanup_old_logs", days=0))
        lines = (await client.get(f"/api/v1/jobs/{job_id}/logs")).json()["lines"]
        fires = (await client.get("/api/v1/schedules/try/fires")).json()["fires"]
        return not lines and not fires

    await eventually_async(all_gone)
    assert counted >= Counter({"log_lines": 2, "fire_times": 2, "session_statistics": 1}), counted
