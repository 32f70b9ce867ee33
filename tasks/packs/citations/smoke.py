"""`jobgate smoke citations`: a prompt, put to the platforms that are configured, and what comes of it in the tables."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.smoke import Smoke

#: A project of its own that no schedule scans; made once.
_PROJECT = "jobgate-smoke"
_PROMPT = "What is the best CRM for small businesses?"
_HOME = "/api/citations/projects"
_SCHEDULES = ("scheduled_citation_scan", "weekly_comprehensive_scan", "update_citation_rates")


def smoke(gateway: Smoke) -> Iterator[str]:
    _prepare(gateway)
    made = gateway.post(f"{_HOME}/{_PROJECT}/scans", {"prompt_text": _PROMPT})
    result = gateway.wait(made["job_id"])
    scans = gateway.get(f"{_HOME}/{_PROJECT}/scans?job_id={made['job_id']}")["scans"]
    stored = sum(scan["citations"] for scan in scans)
    gateway.check(stored == result["total_citations"], f"{result['total_citations']} citations are stored: {stored}")
    yield f"{stored} citations from {', '.join(result['platforms'])}, for {result['cost']} US dollars"
    for platform, words in result["failed"].items():
        yield f"{platform} failed: {words}"
    gateway.job("update_citation_rates")
    rate = gateway.get(f"{_HOME}/{_PROJECT}")["citation_rate"]
    gateway.check(rate is not None, "the project has a rate")
    yield f"the rate of the project is {rate:g}"
    there = {schedule["name"]: schedule for schedule in gateway.get("/api/v1/schedules")["schedules"]}
    for name in _SCHEDULES:
        gateway.check(name in there, f"the schedule {name} is there")
    yield f"scheduled: {', '.join(_SCHEDULES)}"


def _prepare(gateway: Smoke) -> None:
    if not gateway.get(f"{_HOME}?id={_PROJECT}")["projects"]:
        words = {"id": _PROJECT, "name": "Smoke test", "domains": ["northwind.example"], "active": False}
        gateway.post(_HOME, words)
