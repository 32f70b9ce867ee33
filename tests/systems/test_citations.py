"""System A as its owners used it: projects and prompts over HTTP, scans by name, rounds by schedule, a smoke test."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.packs.citations_support import HOME, PLACES, QUESTION, VENDORS
from tests.support.answers import AnswerEngines
from tests.support.deployment import Deployment
from tests.support.processes import Process, clean_environment, python
from tests.support.waiting import eventually

JOBS = "/api/v1/jobs"


def call(site: Deployment, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = site.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def run(site: Deployment, task: str, **kwargs: Any) -> dict[str, Any]:
    """The job at its end."""
    accepted = call(site, "POST", JOBS, {"task": task, "kwargs": kwargs}, 202)
    assert accepted["queue"] == "citations"
    return site.ended(accepted, within=60)


@pytest.fixture
def project(site: Deployment) -> str:
    body = {"name": "Northwind", "brand": "Northwind", "domains": ["northwind.example"]}
    made: dict[str, Any] = call(site, "POST", HOME, body, 201)
    return str(made["id"])


def test_from_a_prompt_to_the_rate(site: Deployment, project: str, answers: AnswerEngines) -> None:
    for priority in ("P0", "P1", "P2"):
        call(site, "POST", f"{HOME}/{project}/prompts", {"text": f"{QUESTION} {priority}", "priority": priority}, 201)
    answers.switch("you", status=503)
    job = run(site, "scan_prompt_citations", prompt_text=QUESTION, project_id=project)
    result = job["result"]
    assert job["status"] == "SUCCESS", job["error"]
    assert job["mode"] == site.mode
    assert {name: result["platforms"][name] for name in VENDORS if name != "you"} == dict.fromkeys(
        ("perplexity", "openai", "anthropic", "gemini"), len(PLACES)
    )
    assert "503" in result["failed"]["you"]
    answers.reset()
    daily = run(site, "scheduled_citation_scan")["result"]
    texts = {}
    for number in daily["jobs"]:
        scan = site.ended(number, within=60)
        assert (scan["status"], scan["result"]["failed"]) == ("SUCCESS", {}), scan
        if scan["kwargs"]["project_id"] == project:
            texts[scan["kwargs"]["prompt_text"]] = scan["result"]["total_citations"]
    assert list(texts) == [f"{QUESTION} P0", f"{QUESTION} P1"]
    stored = call(site, "GET", f"{HOME}/{project}/citations?limit=200")["citations"]
    assert len(stored) == result["total_citations"] + sum(texts.values())
    assert [each["url"] for each in stored if each["platform"] == "gemini"] == PLACES * 3
    assert {each["host"] for each in stored if each["own"]} == {"www.northwind.example", "blog.northwind.example"}
    assert run(site, "update_citation_rates")["status"] == "SUCCESS"
    assert call(site, "GET", f"{HOME}/{project}")["citation_rate"] == 1.0
    call(site, "PATCH", f"{HOME}/{project}", {"domains": ["ledgerline.invalid"], "active": False})
    run(site, "update_citation_rates")
    assert call(site, "GET", f"{HOME}/{project}")["citation_rate"] == 0.0


def test_the_weekly_scan_takes_all_prompts(site: Deployment, project: str, answers: AnswerEngines) -> None:
    call(site, "POST", f"{HOME}/{project}/prompts", {"text": QUESTION, "priority": "P2"}, 201)
    weekly = run(site, "weekly_comprehensive_scan")["result"]
    scans = [site.ended(number, within=60) for number in weekly["jobs"]]
    assert [scan["kwargs"]["prompt_text"] for scan in scans if scan["kwargs"]["project_id"] == project] == [QUESTION]
    call(site, "PATCH", f"{HOME}/{project}", {"active": False})


def test_the_schedules_fire_when_they_did(site: Deployment) -> None:
    wanted = {
        "scheduled_citation_scan": "0 2 * * *",
        "weekly_comprehensive_scan": "0 3 * * mon",
        "update_citation_rates": "0 4 * * *",
    }
    for name, cron in wanted.items():
        schedule = call(site, "GET", f"/api/v1/schedules/{name}")
        assert (schedule["cron"], schedule["timezone"], schedule["enabled"]) == (cron, "UTC", True)
        assert schedule["next_at"].endswith(f"T0{cron[2]}:00:00.000Z")


def test_a_schedule_can_be_run_now(site: Deployment, answers: AnswerEngines) -> None:
    fired = call(site, "POST", "/api/v1/schedules/update_citation_rates/run", status=202)
    assert site.ended(fired["id"], within=60)["status"] == "SUCCESS"


def test_the_owners_worker_command(site: Deployment, tmp_path: Path) -> None:
    if not site.celery:
        pytest.skip("in thread mode there are no workers to start")
    options = ("--concurrency=2", "--queues=citations", "--hostname=worker@%h")
    worker = Process("owners", python("-m", "gateway.cli", "worker", *options), site.environment(), tmp_path)
    try:

        def mine() -> set[str]:
            """Its children, who have a slot each."""
            workers = call(site, "GET", "/api/v1/workers")["workers"]
            serves = [each for each in workers if each["queues"] == ["citations"] and each["slots"] == 1]
            return {f"{each['name']} (pid {each['pid']})" for each in serves}

        eventually(lambda: len(mine()) == 2, 60, "two slots serve that queue and no other")
        children = mine()

        def runs() -> bool:
            return site.get(run(site, "update_citation_rates"), "/attempts")["attempts"][0]["worker"] in children

        eventually(runs, 60, "it has run a job")
    finally:
        worker.stop()


def test_the_smoke_command_shows_that_it_works(site: Deployment, answers: AnswerEngines) -> None:
    url = str(site.client.base_url)
    command = python("-m", "gateway.cli", "--url", url, "smoke", "citations")
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "citations: works" in done.stdout
    assert "perplexity" in done.stdout
