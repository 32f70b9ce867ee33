"""System B as its owners used it: schedules over its own addresses, four queues, sessions, agents, a smoke test."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from executors.packs import place_beside
from tests.support.answers import AnswerEngines
from tests.support.deployment import JOBS, Deployment
from tests.support.processes import clean_environment, python
from tests.support.waiting import eventually

SCHEDULED = "/api/v1/scheduled-tasks"
SESSION = "/api/backoffice/sessions"
AGENT = "/api/backoffice/agents"
QUEUES = ("system", "priority_high", "priority_low", "celery")
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
MINUTE = 60_000


def call(site: Deployment, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = site.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def run(site: Deployment, task: str, **kwargs: Any) -> dict[str, Any]:
    """The job at its end."""
    job = site.ended(call(site, "POST", JOBS, {"task": task, "kwargs": kwargs}, 202), within=60)
    assert (job["status"], job["mode"]) == ("SUCCESS", site.mode), job["error"]
    return job


def sql(url: str, statement: str, **given: Any) -> list[Mapping[Any, Any]]:
    """Straight at a database, as its owner."""

    async def look() -> list[Mapping[Any, Any]]:
        parsed = make_url(url)
        engine = create_async_engine(parsed.set(drivername=DRIVERS[parsed.get_backend_name()]))
        async with engine.begin() as connection:
            done = await connection.execute(text(statement), given)
            rows = [dict(row) for row in done.mappings()] if done.returns_rows else []
        await engine.dispose()
        return rows

    return asyncio.run(look())


def test_a_schedule_fires_without_a_restart_and_runs_now(site: Deployment) -> None:
    body = {
        "task_name": "try the schedules",
        "task_path": "src.apps.scheduled_task.tasks.test_task",
        "task_type": "system",
        "task_enabled": True,
        "task_crontab_minute": "*",
        "task_crontab_hour": "*",
        "task_extra_config": {"queue": "system", "kwargs": {"message": "on time"}},
    }
    made = call(site, "POST", SCHEDULED, body, 201)
    at = f"{SCHEDULED}/{made['id']}"
    by_hand = site.ended(call(site, "POST", f"{at}/run", None, 202), within=60)
    assert (by_hand["status"], by_hand["queue"], by_hand["result"]["message"]) == ("SUCCESS", "system", "on time")
    # Its next minute is let come at once; whoever fires it finds it so.
    sql(site.shape.database_url, "UPDATE schedules SET next_at = next_at - :minute WHERE id = :id",
        minute=MINUTE, id=made["id"])  # fmt: skip  # one call
    fired = eventually(
        lambda: [job for job in call(site, "GET", f"{JOBS}?tag=schedule:try%20the%20schedules")["jobs"]
                 if job["id"] != by_hand["id"]], 30, "it fires"
    )  # fmt: skip  # one condition
    assert site.ended(fired[0], within=60)["result"]["message"] == "on time"
    assert call(site, "GET", at)["total_run_count"] >= 2
    changed = call(site, "PATCH", at, {"task_enabled": False, "task_crontab_hour": "3"})
    assert (changed["task_enabled"], changed["task_crontab_hour"]) == (False, "3")
    names = [each["task_name"] for each in call(site, "GET", SCHEDULED)["scheduled_tasks"]]
    own = {"auth.cleanup_expired_sessions", "auth.cleanup_old_sessions", "auth.session_statistics",
           "scheduled_task.cleanup_old_logs", "periodic_agent_health_check"}  # fmt: skip  # one set
    assert own <= set(names)
    call(site, "DELETE", at)
    call(site, "GET", at, None, 404)


def test_the_four_queues_are_served_strictly_in_their_order(site: Deployment) -> None:
    with site.busy() as blockers:
        jobs = [{"task": "scheduled_task.test_task", "queue": queue, "priority": priority}
                for priority, queue in zip((0, 3, 6, 9), QUEUES, strict=True)]  # fmt: skip  # one list
        made = call(site, "POST", f"{JOBS}:batch", {"jobs": jobs}, 202)["jobs"]
        blockers.release(1)
        ended = [site.ended(job, within=60) for job in made]
    assert tuple(job["queue"] for job in sorted(ended, key=lambda job: job["started_at"])) == QUEUES


def test_sessions_are_cleaned_up_and_counted(site: Deployment) -> None:
    tables = place_beside(site.shape.database_url)
    short = call(site, "POST", SESSION, {"user_id": "ann", "ttl": 1}, 201)
    call(site, "POST", SESSION, {"user_id": "ann", "ttl": 3600}, 201)
    eventually(lambda: call(site, "GET", f"{SESSION}/{short['id']}")["state"] == "expired")
    assert run(site, "auth.cleanup_expired_sessions")["queue"] == "system"
    (row,) = sql(tables, "SELECT * FROM backoffice_sessions WHERE id = :id", id=short["id"])
    assert (row["ended"], row["ended_at"]) == ("expired", row["expires_at"])
    counted = run(site, "auth.session_statistics")
    (noted,) = sql(tables, "SELECT * FROM backoffice_session_statistics WHERE job_id = :id", id=counted["id"])
    assert counted["result"]["open"] == noted["open"] >= 1
    run(site, "auth.cleanup_old_sessions", days=0)
    left = [each["id"] for each in call(site, "GET", f"{SESSION}?user_id=ann")["sessions"]]
    assert short["id"] not in left
    assert left
    gone = run(site, "scheduled_task.cleanup_old_logs", days=0)["result"]
    assert gone["session_statistics"] >= 1
    assert not sql(tables, "SELECT * FROM backoffice_session_statistics WHERE job_id = :id", id=counted["id"])


def test_an_agent_runs_on_its_schedule_and_its_health_is_checked(site: Deployment, answers: AnswerEngines) -> None:
    answers.switch("openai", tool={"name": "calculate", "arguments": {"expression": "17 * 3"}})
    body = {"name": "counter", "prompt": "What is 17 times 3?", "tools": ["calculate"], "every": 1}
    agent = call(site, "POST", AGENT, body, 201)
    at = f"{AGENT}/{agent['id']}"
    runs = eventually(
        lambda: [each for each in call(site, "GET", f"{at}/runs")["runs"] if each["state"] == "success"],
        60,
        "it runs by itself",
    )
    assert (runs[-1]["answer"], runs[-1]["tool_calls"][0]["result"]) == ('The tool says: {"value":51}', '{"value":51}')
    assert runs[-1]["total_tokens"] > 0
    assert site.read(runs[-1]["job_id"])["mode"] == site.mode
    call(site, "PATCH", at, {"enabled": False})
    eventually(lambda: not [each for each in call(site, "GET", f"{at}/runs")["runs"] if each["state"] == "running"])
    run(site, "periodic_agent_health_check")
    assert call(site, "GET", at)["health"] == "ok"
    answers.reset()
    answers.switch("openai", status=401, times=1)
    failed = site.ended(call(site, "POST", f"{at}/run", None, 202)["job_id"], within=60)
    assert (failed["status"], "401" in failed["error"]["message"]) == ("FAILURE", True)
    assert "counter" in run(site, "periodic_agent_health_check")["result"]["failing"]
    (row,) = sql(place_beside(site.shape.database_url), "SELECT * FROM backoffice_agents WHERE name = 'counter'")
    assert (row["health"], "401" in row["health_reason"]) == ("failing", True)
    call(site, "DELETE", at, None, 204)
    call(site, "GET", "/api/v1/schedules/agent%20counter", None, 404)


def test_its_smoke_test(site: Deployment, answers: AnswerEngines) -> None:
    command = python("-m", "gateway.cli", "--url", str(site.client.base_url), "smoke", "B")
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "backoffice: works" in done.stdout
