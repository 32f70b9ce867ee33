"""The citations pack in a gateway, with its tables in each kind of database and the vendors' protocols at its door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import create_app
from tasks.errors import FatalError, Retry
from tasks.packs.citations.clock import now
from tasks.packs.citations.rates import update_citation_rates
from tasks.packs.citations.rounds import (
    DAILY_PROMPTS,
    WEEKLY_PROMPTS,
    due,
    scheduled_citation_scan,
    weekly_comprehensive_scan,
)
from tasks.packs.citations.scan import scan_prompt_citations
from tasks.packs.citations.tables import CITATIONS, DATABASE, PACE, PROMPTS, SCANS
from tasks.schedule import rule_of
from tasks.testing import Recorder
from tests.executors.conftest import make_database
from tests.gateway.conftest import client_of
from tests.packs.citations_support import PLACES, QUESTION, VENDORS, Projects, variables
from tests.support.answers import AnswerEngines

__all__ = ["make_database"]

ALL = (*VENDORS, "compatible")
DAY = 86_400_000


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def house(
    request: pytest.FixtureRequest, make_database: Callable[[str], str], engines: AnswerEngines
) -> AsyncIterator[Projects]:
    settings = Settings(
        database_url=make_database(request.param),
        task_modules=("tasks.packs.citations",),
        threads=4,
        environment=variables(engines),
    )
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        yield Projects(client)
    await packs.close(found)


@pytest.fixture
async def projects(house: Projects, answers: AnswerEngines) -> Projects:
    """No platform is paused, and no project of another test is active."""
    async with DATABASE.writing() as tables:
        await tables.execute(delete(PACE))
    for project in (await house.call("GET", "?active=true&limit=200"))["projects"]:
        await house.call("PATCH", f"/{project['id']}", {"active": False})
    return house


async def count(table: Any, *where: Any) -> int:
    async with DATABASE.reading() as tables:
        return int((await tables.execute(select(func.count()).select_from(table).where(*where))).scalar_one())


async def test_every_platform_is_asked_and_what_it_cites_is_stored(projects: Projects) -> None:
    project = await projects.make("northwind.example", brand="Northwind")
    job = await projects.scan(project)
    assert job["status"] == "SUCCESS", job["error"]
    result = job["result"]
    assert result["platforms"] == dict.fromkeys(ALL, len(PLACES))
    assert (result["total_citations"], result["failed"]) == (6 * len(PLACES), {})
    for platform in ALL:
        page = await projects.call("GET", f"/{project}/citations?platform={platform}")
        assert [citation["url"] for citation in page["citations"]] == PLACES
        assert [citation["position"] for citation in page["citations"]] == list(range(1, len(PLACES) + 1))
    scans = {scan["platform"]: scan for scan in (await projects.call("GET", f"/{project}/scans"))["scans"]}
    assert scans["perplexity"]["cost"] == result["cost"] > 0.005
    assert scans["openai"]["tokens_written"] > 20
    assert all(scan["names_brand"] and scan["job_id"] == job["id"] for scan in scans.values())


async def test_a_citation_counts_by_the_domains_that_the_project_has_now(projects: Projects) -> None:
    project = await projects.make("northwind.example")
    await projects.scan(project, "you")

    async def own() -> list[str]:
        return [each["host"] for each in (await projects.call("GET", f"/{project}/citations?own=true"))["citations"]]

    # The domain's host and one below it; not the one whose name ends like it.
    assert sorted(await own()) == ["blog.northwind.example", "www.northwind.example"]
    others = (await projects.call("GET", f"/{project}/citations?own=false"))["citations"]
    assert {each["host"] for each in others} == {"notnorthwind.example", "reviews.ledgerline.example"}
    await projects.call("PATCH", f"/{project}", {"domains": ["ledgerline.example", "NotNorthwind.example"]})
    assert sorted(await own()) == ["notnorthwind.example", "reviews.ledgerline.example"]


async def test_a_platform_that_fails_loses_nothing_of_the_others(projects: Projects, answers: AnswerEngines) -> None:
    answers.switch("you", status=500)
    answers.switch("perplexity", failed=True)
    project = await projects.make()
    job = await projects.scan(project)
    result = job["result"]
    assert set(result["failed"]) == {"you", "perplexity"}
    assert "500" in result["failed"]["you"]
    assert (
        result["total_citations"] == 4 * len(PLACES) == await count(CITATIONS.join(SCANS), SCANS.c.job_id == job["id"])
    )
    scans = (await projects.call("GET", f"/{project}/scans?state=failed"))["scans"]
    assert {scan["platform"]: scan["error"] for scan in scans} == result["failed"]


async def test_when_all_refuse_the_job_fails_with_their_words(projects: Projects, answers: AnswerEngines) -> None:
    answers.switch("you", status=401)
    answers.switch("gemini", status=403)
    job = await projects.scan(await projects.make(), "you", "gemini")
    assert job["status"] == "FAILURE"
    assert all(words in job["error"]["message"] for words in ("you answered 401", "gemini answered 403"))


async def test_when_all_are_busy_the_job_comes_back_as_late_as_they_say(
    projects: Projects, answers: AnswerEngines
) -> None:
    for name, seconds in (("you", 500), ("gemini", 300)):
        answers.switch(name, status=429, retry_after=seconds)
    project = await projects.make()
    with pytest.raises(Retry) as caught:
        await scan_prompt_citations(Recorder("busy").context, QUESTION, project, ["you", "gemini"])
    assert caught.value.countdown == 300


async def test_a_job_that_runs_twice_doubles_nothing(projects: Projects, answers: AnswerEngines) -> None:
    project = await projects.make()
    answers.switch("you", status=500)
    first = await scan_prompt_citations(Recorder(project).context, QUESTION, project, ["openai", "you"])
    assert (first.platforms, list(first.failed)) == ({"openai": len(PLACES)}, ["you"])
    answers.reset()
    again = await scan_prompt_citations(Recorder(project, 2).context, QUESTION, project, ["openai", "you"])
    assert again.platforms == {"openai": len(PLACES), "you": len(PLACES)}
    assert (len(answers.calls("openai")), len(answers.calls("you"))) == (0, 1)
    assert await count(SCANS, SCANS.c.job_id == project) == 2
    assert await count(CITATIONS.join(SCANS), SCANS.c.job_id == project) == 2 * len(PLACES)


async def test_two_attempts_at_once_double_nothing(projects: Projects) -> None:
    project = await projects.make()
    results = await asyncio.gather(
        *(scan_prompt_citations(Recorder(project, n).context, QUESTION, project) for n in range(1, 5))
    )
    assert all(result == results[0] for result in results)
    assert await count(SCANS, SCANS.c.job_id == project) == 6
    assert await count(CITATIONS.join(SCANS), SCANS.c.job_id == project) == 6 * len(PLACES)


async def test_a_project_that_is_not_there_ends_the_job(projects: Projects) -> None:
    with pytest.raises(FatalError, match="there is no project 'gone'"):
        await scan_prompt_citations(Recorder().context, QUESTION, "gone")


async def fill(project: str, **numbers: int) -> list[int]:
    """So many prompts of each priority; their ids."""
    rows = [
        {"project_id": project, "text": f"{priority} {n} {QUESTION}", "priority": priority, "created_at": now()}
        for priority, number in numbers.items()
        for n in range(number)
    ]
    async with DATABASE.writing() as tables:
        made = await tables.execute(insert(PROMPTS).returning(PROMPTS.c.id, sort_by_parameter_order=True), rows)
        return list(made.scalars())


async def test_at_most_ten_or_fifty_prompts_the_important_first_and_the_longest_unseen(projects: Projects) -> None:
    large, small, idle = [await projects.make(active=active) for active in (True, True, False)]
    numbers = await fill(large, P2=45, P1=8, P0=3)
    others, (none,) = await fill(small, P1=1, P2=2), await fill(idle, P0=1)
    daily = await due(("P0", "P1"), DAILY_PROMPTS)
    assert [each.id for each in daily if each.project_id == large] == [*numbers[53:], *numbers[45:52]]
    assert [each.id for each in daily if each.project_id == small] == others[:1]
    weekly = {each.id for each in await due(("P0", "P1", "P2"), WEEKLY_PROMPTS)}
    assert weekly == {*numbers[45:], *numbers[:39], *others}
    assert none not in weekly
    async with DATABASE.writing() as tables:
        row = {"project_id": large, "prompt_text": "x", "platform": "you", "state": "answered", "scanned_at": now()}
        seen = [{**row, "job_id": f"seen-{n}", "prompt_id": n} for n in numbers[45:52]]
        await tables.execute(insert(SCANS), seen)
    tomorrow = [each.id for each in await due(("P0", "P1"), DAILY_PROMPTS) if each.project_id == large]
    assert tomorrow == [*numbers[53:], numbers[52], *numbers[45:51]]


async def test_a_round_scans_what_is_due(projects: Projects) -> None:
    project = await projects.make("northwind.example")
    await fill(project, P0=1, P1=1, P2=1)
    for task, prompts in (("scheduled_citation_scan", 2), ("weekly_comprehensive_scan", 3)):
        job = await projects.submit(task)
        result = job["result"]
        assert (result["projects"], result["prompts"]) == (1, prompts)
        ended = [await projects.ended(each) for each in result["jobs"]]
        assert [each["result"]["failed"] for each in ended] == [{}] * prompts
        assert [each["kwargs"]["prompt_text"][:2] for each in ended] == ["P0", "P1", "P2"][:prompts]


async def test_a_round_that_runs_twice_makes_the_same_jobs(projects: Projects) -> None:
    project = await projects.make()
    for priority in ("P0", "P1"):
        await projects.prompt(project, f"{priority} {QUESTION}", priority)
    first, second = [await scheduled_citation_scan(Recorder(project, n).context) for n in (1, 2)]
    assert first.jobs == second.jobs
    assert len(set(first.jobs)) == 2


async def test_a_rate_is_the_share_of_thirty_days_answers_that_cite_the_project(projects: Projects) -> None:
    project, never = await projects.make("northwind.example"), await projects.make("northwind.example")

    async def scan(days: float, *hosts: str, state: str = "answered") -> None:
        row = {"job_id": f"{days}", "project_id": project, "prompt_text": "x", "platform": "you", "state": state}
        row |= {"error": "x"} if state == "failed" else {}
        async with DATABASE.writing() as tables:
            made = insert(SCANS).values(scanned_at=now() - round(days * DAY), **row).returning(SCANS.c.id)
            number = (await tables.execute(made)).scalar_one()
            rows = [
                {"scan_id": number, "position": n, "url": f"https://{host}/", "host": host, "title": ""}
                for n, host in enumerate(hosts, 1)
            ]
            if rows:
                await tables.execute(insert(CITATIONS), rows)

    await scan(1, "blog.northwind.example", "northwind.example")
    await scan(2, "notnorthwind.example")
    await scan(3)
    await scan(29.99, "other.example", "northwind.example")
    await scan(30.01, "northwind.example")
    await scan(4, state="failed")
    rated = await update_citation_rates()
    assert rated.unscanned >= 1
    found = await projects.call("GET", f"/{project}")
    assert found["citation_rate"] == 0.5
    assert found["rated_at"] is not None
    assert (await projects.call("GET", f"/{never}"))["citation_rate"] is None


def test_the_schedules_are_those_that_the_owners_had() -> None:
    def following(task: Any, moment: datetime) -> list[datetime]:
        rule, found, at = rule_of(task.schedules[0], 0), [], int(moment.timestamp() * 1000)
        for _ in range(2):
            occurrence = rule.after(at)
            assert occurrence is not None
            at = occurrence.at
            found.append(datetime.fromtimestamp(at / 1000, UTC))
        return found

    wednesday = datetime(2026, 11, 18, 2, tzinfo=UTC)
    assert following(scheduled_citation_scan, wednesday) == [datetime(2026, 11, day, 2, tzinfo=UTC) for day in (19, 20)]
    assert following(weekly_comprehensive_scan, wednesday) == [
        datetime(2026, 11, day, 3, tzinfo=UTC) for day in (23, 30)
    ]
    assert following(update_citation_rates, wednesday)[0] == datetime(2026, 11, 18, 4, tzinfo=UTC)


def test_every_task_has_limits_and_retries() -> None:
    for task in (scan_prompt_citations, scheduled_citation_scan, weekly_comprehensive_scan, update_citation_rates):
        assert task.queue == "citations"
        assert task.retry.max_retries == 3
        assert task.soft_time_limit is not None
        assert task.time_limit is not None
        assert task.soft_time_limit < task.time_limit


async def test_projects_and_prompts_are_made_listed_changed_and_deleted(projects: Projects) -> None:
    made = await projects.call(
        "POST", "", {"id": "acme", "name": "Acme", "domains": ["ACME.example", "北风.example"]}, 201
    )
    assert (made["id"], made["domains"], made["citation_rate"]) == (
        "acme",
        ["acme.example", "xn--djr653n.example"],
        None,
    )
    assert made["active"]
    changed = await projects.call("PATCH", "/acme", {"name": "Acme Inc.", "brand": "Acme", "active": False})
    assert (changed["name"], changed["brand"], changed["active"]) == ("Acme Inc.", "Acme", False)
    assert (await projects.call("GET", "?id=acme"))["projects"] == [changed]
    prompt = await projects.prompt("acme", QUESTION, "P2")
    assert (await projects.call("PATCH", f"/acme/prompts/{prompt}", {"priority": "P0"}))["priority"] == "P0"
    assert (await projects.call("PATCH", f"/acme/prompts/{prompt}", {}))["text"] == QUESTION
    listed = (await projects.call("GET", "/acme/prompts?priority=P0"))["prompts"]
    assert [each["id"] for each in listed] == [prompt]
    started = await projects.call("POST", "/acme/scans", {"prompt_text": QUESTION, "platforms": ["you"]}, 202)
    assert (await projects.ended(started["job_id"]))["status"] == "SUCCESS"
    await projects.call("DELETE", f"/acme/prompts/{prompt}", status=204)
    (scan,) = (await projects.call("GET", "/acme/scans"))["scans"]
    assert (scan["prompt_id"], scan["prompt_text"]) == (None, QUESTION)
    await projects.call("DELETE", "/acme", status=204)
    assert await count(SCANS, SCANS.c.job_id == started["job_id"]) == 0


async def test_pages_follow_each_other(projects: Projects) -> None:
    project = await projects.make()
    for _ in range(3):
        await projects.scan(project, "you", "openai")
    scans = [scan["id"] for scan in (await projects.call("GET", f"/{project}/scans"))["scans"]]
    pages: list[int] = []
    page = await projects.call("GET", f"/{project}/citations?limit=4")
    while True:
        pages += dict.fromkeys(each["scan_id"] for each in page["citations"])
        if page["before"] is None:
            break
        page = await projects.call("GET", f"/{project}/citations?limit=4&before={page['before']}")
    assert pages == scans
    assert len(scans) == 6


@pytest.mark.parametrize(
    ("request_", "body", "status", "kind", "place"),
    [
        ("POST ", {"name": "x", "domains": ["https://x.example/"]}, 422, "invalid-arguments", "/domains/0"),
        ("POST ", {"name": "x", "domains": []}, 422, "invalid-submission", "/domains"),
        ("POST ", {"name": "x", "domains": ["x.example"], "id": "a b"}, 422, "invalid-submission", "/id"),
        ("POST ", {"name": "x\0", "domains": ["x.example"]}, 400, "malformed-json", "/name"),
        ("GET /a%00b", None, 404, "not-found", None),
        ("GET /taken/scans?job_id=a%00b", None, 422, "invalid-parameters", "job_id"),
        ("GET ?after=a%00b", None, 422, "invalid-parameters", "after"),
        ("POST ", {"name": "x", "domains": ["x.example"], "id": "taken"}, 409, "state-conflict", None),
        ("GET /gone", None, 404, "not-found", None),
        ("PATCH /gone", {"name": "x"}, 404, "not-found", None),
        ("DELETE /gone", None, 404, "not-found", None),
        ("GET /gone/prompts", None, 404, "not-found", None),
        ("GET /gone/scans", None, 404, "not-found", None),
        ("GET /gone/citations", None, 404, "not-found", None),
        ("POST /gone/scans", {"prompt_text": "x"}, 404, "not-found", None),
        ("POST /gone/prompts", {"text": "x"}, 404, "not-found", None),
        ("POST /taken/prompts", {"text": "x", "priority": "P3"}, 422, "invalid-submission", "/priority"),
        ("POST /taken/prompts", {"text": "there"}, 409, "state-conflict", None),
        ("PATCH /taken/prompts/99999999999999999999", {}, 404, "not-found", None),
        ("PATCH /taken/prompts/1x", {}, 404, "not-found", None),
        (
            "POST /taken/scans",
            {"prompt_text": "x", "platforms": ["chatgpt"]},
            422,
            "invalid-submission",
            "/platforms/0",
        ),
        ("GET /taken/scans?platform=chatgpt", None, 422, "invalid-parameters", "platform"),
    ],
)
async def test_what_is_wrong_is_told(
    projects: Projects, request_: str, body: Any, status: int, kind: str, place: str | None
) -> None:
    if not (await projects.call("GET", "?id=taken"))["projects"]:
        await projects.make(id="taken")
        await projects.prompt("taken", "there")
    method, _, path = request_.partition(" ")
    problem = await projects.call(method, path, body, status)
    assert problem["type"] == f"/problems/{kind}", problem
    fault = (problem.get("errors") or [{}])[0]
    assert fault.get("pointer", fault.get("parameter")) == place


async def test_an_unknown_platform_is_refused_at_submission(projects: Projects) -> None:
    kwargs = {"prompt_text": "x", "project_id": "p", "platforms": ["chatgpt"]}
    answer = await projects.client.post("/api/v1/jobs", json={"task": "scan_prompt_citations", "kwargs": kwargs})
    assert answer.status_code == 422
    assert "perplexity|you|openai" in answer.text


async def test_without_a_key_a_platform_fails_and_without_any_nothing_is_accepted(
    answers: AnswerEngines, tmp_path: Any
) -> None:
    for environ, status in ((variables(answers, "you"), 202), ({}, 409)):
        url = f"sqlite:///{tmp_path}/jobs.db"
        settings = Settings(database_url=url, task_modules=("tasks.packs.citations",), threads=2, environment=environ)
        async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
            projects = Projects(client)
            project = await projects.make()
            wish = {"prompt_text": QUESTION, "platforms": ["you", "gemini"]}
            answer = await projects.call("POST", f"/{project}/scans", wish, status)
            if status == 409:
                assert "PERPLEXITY_API_KEY" in answer["detail"]
                failed = (await projects.submit("scheduled_citation_scan"))["error"]
                assert "PERPLEXITY_API_KEY" in failed["message"]
                break
            result = (await projects.ended(answer["job_id"]))["result"]
            assert result["failed"] == {"gemini": "it is not configured: set GEMINI_API_KEY"}
            assert result["platforms"] == {"you": len(PLACES)}
        await packs.close(assembly.load_tasks(settings))
