"""System C as its owners used it: a message to a real small model, notifications, its schedules, a smoke test."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.support.deployment import JOBS, Deployment
from tests.support.mail import Mailbox
from tests.support.model import MODEL
from tests.support.processes import clean_environment, python

TASKS = "/api/v1/tasks"


def run(site: Deployment, task: str, **kwargs: Any) -> dict[str, Any]:
    """The job at its end, which must be a good one."""
    accepted = site.client.post(JOBS, json={"task": task, "kwargs": kwargs})
    assert accepted.status_code == 202, accepted.text
    job = site.ended(accepted.json(), within=60)
    assert (job["status"], job["mode"]) == ("SUCCESS", site.mode), job
    return job


def test_a_message_is_answered_by_a_real_model(site: Deployment) -> None:
    wanted = {"conversation_id": "e2e", "user_message": "Say hello.", "temperature": 0.2, "user_id": "u1"}
    receipt = site.client.post(f"{TASKS}/ai/generate", json=wanted).json()
    assert (set(receipt), receipt["status"]) == ({"task_id", "status", "message"}, "PENDING")
    task = receipt["task_id"]
    job = site.ended(task, within=60)
    assert (job["status"], job["queue"], job["mode"]) == ("SUCCESS", "ai_high_priority", site.mode), job
    result, tokens = job["result"], job["result"]["tokens"]
    assert (result["conversation_id"], result["model"]) == ("e2e", MODEL)
    assert result["response"].strip()
    assert tokens["total"] == tokens["prompt"] + tokens["completion"] > 10
    assert result["cost"] == pytest.approx((tokens["prompt"] * 0.5 + tokens["completion"] * 1.5) / 1e6)
    status = site.client.get(f"{TASKS}/status/{task}").json()
    assert (status["status"], status["result"], status["error"]) == ("SUCCESS", result, None)
    assert "".join(data["message"] for event, data in site.events(task) if event == "log") == result["response"]
    stored = site.client.get("/api/v1/assistant/conversations/e2e").json()
    assert [(one["role"], one["content"]) for one in stored["history"]] == [
        ("user", "Say hello."),
        ("assistant", result["response"]),
    ]
    assert (stored["user_id"], stored["total_tokens"]) == ("u1", tokens["total"])
    listed = site.client.get(f"{TASKS}/list?limit=50&status=SUCCESS").json()["tasks"]
    assert task in [one["task_id"] for one in listed]


def test_a_notification_arrives(site: Deployment, mailbox: Mailbox) -> None:
    job = run(site, "send_notification", to=["user@there.example"], subject="Ready", message="Your answer is ready.")
    assert (job["queue"], job["result"]) == ("notification_default", {"sent": ["user@there.example"], "refused": {}})
    (mail,) = mailbox.mails
    assert (mail.recipients, mail.encrypted, mail.authenticated) == (["user@there.example"], True, True)
    assert (mail.message["Subject"], mail.message.get_content().strip()) == ("Ready", "Your answer is ready.")


def test_the_schedules_stand_and_their_tasks_tell_the_truth(site: Deployment) -> None:
    listed = site.client.get("/api/v1/schedules?page_size=200").json()["schedules"]
    crons = {one["name"]: one["cron"] for one in listed}
    assert crons["cleanup_expired_results"] == "0 2 * * *"
    assert crons["check_task_health"] == "*/30 * * * *"
    run(site, "cleanup_expired_results")
    assert run(site, "cleanup_expired_results")["result"]["kept"] >= 1, "what the first one said"
    health = run(site, "check_task_health")["result"]
    assert sum(one["slots"] for one in health["workers"] if one["state"] == "up") >= site.slots
    assert {one["task"] for one in health["tasks"]} >= {"cleanup_expired_results"}


def test_the_smoke_command(site: Deployment) -> None:
    ran = subprocess.run(
        python("-m", "gateway.cli", "--url", str(site.client.base_url), "smoke", "assistant"),
        env=clean_environment(JOBGATE_PACKS="assistant"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "answered with" in ran.stdout
