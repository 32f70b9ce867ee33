"""What the assistant's schedules see in the record, clear away, and tell."""

from __future__ import annotations

from typing import Any

from tasks.inventory import Inventory, Outcome, Waiting
from tasks.packs.assistant import check_task_health, cleanup_expired_results
from tasks.packs.assistant.health import examine
from tasks.packs.assistant.settings import Settings
from tasks.testing import Recorder
from tasks.worker import Worker, WorkerState
from tests.packs.assistant_support import JOBS, assistant
from tests.support.mail import Mailbox

NOW = 1_900_000_000_000


def worker(name: str = "celery@a", **fields: Any) -> Worker:
    usual: dict[str, Any] = {
        "owner": name, "host": "a", "pid": 1, "mode": "celery", "pool": "prefork", "slots": 4, "busy": 0,
        "queues": ("default",), "tasks": (), "version": "1", "draining": False, "seen_at": NOW,
    }  # fmt: skip
    return Worker(name=name, **{**usual, **fields})


def waiting(queue: str = "default", **fields: Any) -> Waiting:
    usual: dict[str, Any] = {
        "task": "t", "jobs": 3, "due": 2, "due_since": NOW - 700_000, "rung": 0, "plain_since": NOW - 700_000,
        "attempts": 0, "example": "job",
    }  # fmt: skip
    return Waiting(queue=queue, **{**usual, **fields})


def outcome(status: str, count: int, task: str = "t") -> Outcome:
    words = None if status == "SUCCESS" else "it broke"
    return Outcome(task=task, status=status, error_code=None, error_type=None, count=count, message=words, job_id="job")


def record(**fields: Any) -> Inventory:
    usual: dict[str, Any] = {"now": NOW, "workers": [worker()], "waiting": [], "running": [], "outcomes": []}
    nothing = {"unstaged_since": None, "unexpired_since": None, "oldest_end": None}
    return Inventory(**{**usual, **nothing, **fields})


def problems(settings: Settings | None = None, **fields: Any) -> list[str]:
    found = examine(record(**fields), settings or Settings())
    assert found.healthy == (not found.problems)
    return list(found.problems)


def test_nothing_is_wrong_where_nothing_is() -> None:
    assert problems() == []
    assert problems(outcomes=[outcome("SUCCESS", 90), outcome("FAILURE", 10), outcome("REVOKED", 500)]) == []
    assert problems(outcomes=[outcome("FAILURE", 4)]) == [], "too few to tell"


def test_tasks_that_fail_are_told_with_their_last_words() -> None:
    outcomes = [outcome("SUCCESS", 5), outcome("RETRY", 3), outcome("FAILURE", 2), outcome("SUCCESS", 9, "u")]
    assert problems(outcomes=outcomes) == ["t: 5 of 10 attempts failed; the last: it broke"]
    assert problems(Settings(assistant_failure_rate=0.6), outcomes=outcomes) == []
    rates = {task.task: task.failure_rate for task in examine(record(outcomes=outcomes), Settings()).tasks}
    assert rates == {"t": 0.5, "u": 0.0}


def test_a_queue_is_stuck_when_what_could_run_does_not() -> None:
    assert problems(waiting=[waiting()]) == [
        "queue default: 2 jobs are due, the oldest for 700 s; 1 workers serve it",
    ]
    assert problems(waiting=[waiting(due_since=NOW - 599_000, plain_since=NOW - 599_000)]) == []
    assert problems(waiting=[waiting(plain_since=None)]) == [], "behind a limit they wait as they should"
    assert "0 workers" in problems(waiting=[waiting("nobody", plain_since=None)])[0]
    assert "it is paused" in problems(waiting=[waiting()], paused={"default": None})[0]
    assert problems(waiting=[waiting(due=0, due_since=None, plain_since=None)]) == []


def test_workers_that_are_gone_or_deaf_are_told() -> None:
    assert problems(workers=[]) == ["no worker takes jobs"]
    lost = worker("celery@b", seen_at=NOW - 60_000, busy=2)
    assert problems(workers=[worker(), lost]) == ["worker celery@b was lost with 2 jobs; others take them over"]
    deaf = worker("celery@c", deaf=True)
    assert problems(workers=[worker(), deaf]) == ["worker celery@c does not hear the broker"]
    states = [one.state for one in examine(record(workers=[worker(), lost, deaf]), Settings()).workers]
    assert states == [WorkerState.UP, WorkerState.LOST, WorkerState.DEAF]


def test_they_are_scheduled_as_the_platform_had_them() -> None:
    (nightly,), (often,) = cleanup_expired_results.schedules, check_task_health.schedules
    assert (nightly.name, nightly.cron, nightly.timezone) == ("cleanup_expired_results", "0 2 * * *", "UTC")
    assert (often.name, often.cron) == ("check_task_health", "*/30 * * * *")


async def test_the_check_reads_the_record_and_mails_what_it_finds(database_url: str, mailbox: Mailbox) -> None:
    environment = {
        "SMTP_HOST": mailbox.host,
        "SMTP_PORT": str(mailbox.plain_port),
        "SMTP_STARTTLS": "0",
        "MAIL_FROM": "jobgate@here.example",
        "ASSISTANT_ALERTS": "ops@there.example",
        "ASSISTANT_FAILURE_COUNT": "1",
        "ASSISTANT_CHAT_URL": "http://127.0.0.1:1/v1",
        "ASSISTANT_CHAT_MODEL": "none",
    }
    async with assistant(database_url, environment) as site:
        health = (await site.ended(await site.submit("check_task_health")))["result"]
        assert (health["healthy"], health["problems"], health["alert"]) == (True, [], None)
        assert [one["state"] for one in health["workers"]] == ["up"]
        failed = await site.client.post(
            JOBS, json={"task": "generate_ai_response", "args": ["c", "hi"], "max_retries": 0}
        )
        await site.ended(failed.json()["id"], "FAILURE")
        job = await site.ended(await site.submit("check_task_health"))
        health = job["result"]
        (problem,) = health["problems"]
        assert "generate_ai_response: 1 of 1 attempts failed; the last: the chat endpoint" in problem
        assert (health["healthy"], health["tasks"][-1]["failure_rate"]) == (False, 1.0)
        logged = (await site.client.get(f"{JOBS}/{job['id']}/logs")).json()["lines"]
        assert [(line["level"], line["message"]) for line in logged] == [("warning", problem)]
        await site.ended(health["alert"])
        again = await check_task_health(Recorder(job["id"], 2).context)
        assert again.alert == health["alert"], "one alert, however often the job runs"
    (mail,) = mailbox.mails
    assert mail.recipients == ["ops@there.example"]
    assert problem in mail.message.get_content().replace("\r\n", "\n")


async def test_the_cleanup_says_what_is_kept_and_what_is_gone(database_url: str) -> None:
    async with assistant(database_url, {}) as site:
        await site.ended(await site.submit("check_task_health"))
        cleaned = (await site.ended(await site.submit("cleanup_expired_results")))["result"]
        assert cleaned == {"emptied": 0, "expired": 0, "kept": 1, "deliveries": 0}
        # As if the hour of RESULT_EXPIRES were over for all that has ended; its own result counts among that.
        site.control.store.result_age = -1_000
        job = await site.ended(await site.submit("cleanup_expired_results"))
        (line,) = (await site.client.get(f"{JOBS}/{job['id']}/logs")).json()["lines"]
    assert line["message"] == "0 results emptied, 2 expired in all, 0 kept"
    assert (job["result"], job["result_expired"]) == (None, True)
