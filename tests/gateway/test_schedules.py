"""Schedules over HTTP: made, read, changed, steered; and the back-office's shape over the same rows."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from executors.schedules import Schedules
from executors.ticker import Ticker
from tasks.admission import Admission, Defaults
from tasks.schedule import Spec
from tasks.store.schedule_store import ScheduleStore
from tasks.store.store import JobStore
from tests.gateway.support import NOBODY, REGISTRY

SCHEDULES = "/api/v1/schedules"
TASKS = "/api/v1/scheduled-tasks"
NIGHTLY: dict[str, Any] = {"name": "nightly", "task": "tests.read", "kwargs": {"path": "a"}, "cron": "30 2 * * *"}


@pytest.fixture
def ticker(store: JobStore) -> Ticker:
    return Ticker(store, ScheduleStore(store, "ticker"), Admission(REGISTRY, Defaults(queues=("high",))), 1e6, 1.0)


async def made(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post(SCHEDULES, json={**NIGHTLY, **fields})
    assert answer.status_code == 201, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


async def test_a_schedule_is_made_read_changed_and_deleted(client: httpx2.AsyncClient) -> None:
    answer = await client.post(SCHEDULES, json={**NIGHTLY, "timezone": "Europe/Berlin", "queue": "high"})
    assert answer.status_code == 201, answer.text
    schedule = answer.json()
    assert answer.headers["location"] == f"{SCHEDULES}/{schedule['id']}"
    assert (schedule["cron"], schedule["timezone"], schedule["queue"]) == ("30 2 * * *", "Europe/Berlin", "high")
    assert (schedule["enabled"], schedule["fired"], schedule["origin"], schedule["error"]) == (
        True, 0, "operator", None
    )  # fmt: skip  # one row
    for key in (schedule["id"], "nightly"):
        assert (await client.get(f"{SCHEDULES}/{key}")).json() == schedule
    changed = await client.patch(f"{SCHEDULES}/nightly", json={"every": 60, "queue": None, "name": "by the minute"})
    assert changed.status_code == 200, changed.text
    after = changed.json()
    assert (after["cron"], after["every"], after["queue"], after["kwargs"]) == (None, 60.0, None, {"path": "a"})
    assert after["next_at"] != schedule["next_at"]
    assert (await client.get(f"{SCHEDULES}/nightly")).status_code == 404
    gone = await client.delete(f"{SCHEDULES}/by%20the%20minute")
    assert (gone.status_code, gone.json()["id"]) == (200, schedule["id"])
    assert (await client.get(f"{SCHEDULES}/{schedule['id']}")).json()["type"] == "/problems/schedule-not-found"


async def test_what_is_not_changed_keeps_its_next_fire_time(client: httpx2.AsyncClient) -> None:
    schedule = await made(client, cron=None, every=3600)
    changed = await client.patch(f"{SCHEDULES}/nightly", json={"priority": 7, "overlap": "skip"})
    assert (changed.json()["priority"], changed.json()["overlap"]) == (7, "skip")
    assert changed.json()["next_at"] == schedule["next_at"]


async def test_they_are_listed_by_name_in_pages(client: httpx2.AsyncClient) -> None:
    for name in ("c", "a", "b"):
        await made(client, name=name)
    first = (await client.get(SCHEDULES, params={"page_size": 2})).json()
    second = (await client.get(SCHEDULES, params={"page_size": 2, "page_token": first["next_page_token"]})).json()
    assert [each["name"] for page in (first, second) for each in page["schedules"]] == ["a", "b", "c"]
    assert second["next_page_token"] == ""
    wrong = await client.get(SCHEDULES, params={"page_token": "?"})
    assert wrong.json()["errors"][0]["parameter"] == "page_token"


async def test_pause_and_resume(client: httpx2.AsyncClient) -> None:
    await made(client)
    paused = (await client.post(f"{SCHEDULES}/nightly/pause")).json()
    assert (paused["enabled"], paused["paused"]) == (False, "operator")
    again = (await client.post(f"{SCHEDULES}/nightly/pause")).json()
    assert (again["enabled"], again["paused"]) == (False, "operator")
    resumed = (await client.post(f"{SCHEDULES}/nightly/resume")).json()
    assert (resumed["enabled"], resumed["paused"]) == (True, None)
    assert (await client.patch(f"{SCHEDULES}/nightly", json={"enabled": False})).json()["enabled"] is False
    assert (await made(client, name="asleep", enabled=False))["paused"] == "operator"


async def test_run_now_makes_a_job(client: httpx2.AsyncClient) -> None:
    schedule = await made(client, enabled=False)
    answer = await client.post(f"{SCHEDULES}/nightly/run")
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["task"], job["kwargs"], job["tags"]) == ("tests.read", {"path": "a"}, ["schedule:nightly"])
    after = (await client.get(f"{SCHEDULES}/nightly")).json()
    assert (after["fired"], after["last_job"], after["next_at"]) == (1, job["id"], schedule["next_at"])
    (past,) = (await client.get(f"{SCHEDULES}/nightly/fires")).json()["fires"]
    assert (past["cause"], past["outcome"], past["job_id"], past["status"]) == ("hand", "fired", job["id"], "PENDING")


async def test_a_preview_says_what_the_clock_does(client: httpx2.AsyncClient) -> None:
    await made(client, timezone="Europe/Berlin")
    query = {"n": 3, "after": "2027-03-27T00:00:00Z"}
    preview = (await client.get(f"{SCHEDULES}/nightly/preview", params=query)).json()
    assert [each["at"] for each in preview["fire_times"]] == [
        "2027-03-27T01:30:00.000Z", "2027-03-28T01:00:00.000Z", "2027-03-29T00:30:00.000Z",
    ]  # fmt: skip  # a column
    assert [each["local"] for each in preview["fire_times"]][1] == "2027-03-28T03:00:00+02:00"
    assert [bool(each["note"]) for each in preview["fire_times"]] == [False, True, False]
    assert len((await client.get(f"{SCHEDULES}/nightly/preview")).json()["fire_times"]) == 10
    for after in ("tomorrow", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
        wrong = await client.get(f"{SCHEDULES}/nightly/preview", params={"after": after})
        assert (wrong.status_code, wrong.json()["errors"][0]["parameter"]) == (422, "after")
    last = await client.get(f"{SCHEDULES}/nightly/preview", params={"after": "9989-12-31T23:59:59Z", "n": 100})
    assert last.status_code == 200


async def test_a_backfill_makes_each_job_once(client: httpx2.AsyncClient) -> None:
    await made(client)
    span = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-05T00:00:00Z"}
    dry = await client.post(f"{SCHEDULES}/nightly/backfill", json={**span, "dry_run": True})
    assert (dry.status_code, dry.json()["count"], dry.json()["jobs"]) == (200, 4, [])
    done = await client.post(f"{SCHEDULES}/nightly/backfill", json=span)
    assert (done.status_code, done.json()["count"], len(done.json()["jobs"])) == (202, 4, 4)
    assert done.json()["fire_times"][0] == "2026-01-01T02:30:00.000Z"
    again = (await client.post(f"{SCHEDULES}/nightly/backfill", json=span)).json()
    assert (again["count"], again["existing"], again["jobs"]) == (0, 4, [])
    assert (await client.get(f"{SCHEDULES}/nightly")).json()["fired"] == 4


async def test_a_wrong_range(client: httpx2.AsyncClient) -> None:
    await made(client)
    spans = [
        ({"start": "2026-01-01T00:00:00Z", "end": "2036-01-01T00:00:00Z"}, "/end"),
        ({"start": "2016-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "/end"),
        ({"start": "0001-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "/start"),
        ({"start": "2026-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}, "/end"),
        ({"start": "soon", "end": "2026-01-01T00:00:00Z"}, "/start"),
        ({"start": "2026-01-01T00:00:00Z"}, ""),
    ]
    for span, pointer in spans:
        answer = await client.post(f"{SCHEDULES}/nightly/backfill", json=span)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), answer.text


@pytest.mark.parametrize(
    ("fields", "kind", "pointer", "words"),
    [
        ({"cron": "0 25 * * *"}, "invalid-schedule", "/cron", "hour: '25' is not one of its values: it takes 0 to 23"),
        ({"cron": "0 0 30 2 *"}, "invalid-schedule", "/cron", "would never fire"),
        ({"cron": None}, "invalid-schedule", "/cron", "give one of cron"),
        ({"every": 60}, "invalid-schedule", "/every", "got cron and every"),
        ({"cron": None, "every": 0}, "invalid-submission", "/every", ">= 1"),
        ({"cron": None, "at": "2020-01-01T00:00:00Z"}, "invalid-schedule", "/at", "lies in the past"),
        ({"end": "2020-01-01T00:00:00Z"}, "invalid-schedule", "/end", "no fire time"),
        ({"timezone": "Berlin"}, "invalid-schedule", "/timezone", "did you mean Europe/Berlin"),
        ({"task": "tests.rea"}, "unknown-task", "/task", "did you mean tests.read"),
        ({"kwargs": {"pth": "a"}}, "invalid-arguments", "/kwargs/pth", "unknown argument"),
        ({"queue": "nowhere"}, "unknown-queue", "/queue", "use one of"),
        ({"priority": 11}, "invalid-submission", "/priority", "0 to 9"),
        ({"name": "a/b"}, "invalid-submission", "/name", ""),
        ({"name": ""}, "invalid-submission", "/name", ""),
        ({"overlap": "maybe"}, "invalid-submission", "/overlap", ""),
        ({"catch_up": 1}, "invalid-submission", "/catch_up", ">= 10"),
        ({"crn": "* * * * *"}, "invalid-submission", "/crn", "did you mean 'cron'"),
    ],
)
async def test_a_wrong_schedule_is_told_where(
    shared_client: httpx2.AsyncClient, fields: dict[str, Any], kind: str, pointer: str, words: str
) -> None:
    body = {name: value for name, value in {**NIGHTLY, **fields}.items() if value is not None}
    answer = await shared_client.post(SCHEDULES, json=body)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, f"/problems/{kind}"), problem
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["detail"]


async def test_a_wrong_change_changes_nothing(client: httpx2.AsyncClient) -> None:
    schedule = await made(client)
    await made(client, name="other")
    for fields, status in (({"cron": "x"}, 422), ({"name": "other"}, 409), ({"kwargs": {}}, 422), ([], 422)):
        answer = await client.patch(f"{SCHEDULES}/nightly", json=fields)
        assert answer.status_code == status, answer.text
    assert (await client.get(f"{SCHEDULES}/nightly")).json() == schedule
    answer = await client.post(SCHEDULES, json=NIGHTLY)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/schedule-exists")


@pytest.mark.parametrize("key", [NOBODY, "nobody", "%F0%9F%92%A9"])
async def test_an_unknown_schedule_is_a_404(shared_client: httpx2.AsyncClient, key: str) -> None:
    client = shared_client
    answers = [await client.get(f"{SCHEDULES}/{key}{part}") for part in ("", "/preview", "/fires")]
    answers += [await client.post(f"{SCHEDULES}/{key}/{verb}") for verb in ("pause", "resume", "run")]
    answers += [await client.delete(f"{SCHEDULES}/{key}"), await client.patch(f"{TASKS}/{key}", json={})]
    assert {answer.status_code for answer in answers} == {404}


async def test_it_fires_by_its_new_rule(client: httpx2.AsyncClient, store: JobStore, ticker: Ticker) -> None:
    await made(client)
    await ticker.tick()
    assert (await client.get("/api/v1/jobs")).json()["jobs"] == []
    await client.patch(f"{SCHEDULES}/nightly", json={"every": 1})
    assert 0 < await ticker.tick() <= 1.0, "the new rule is seen at the next look"
    # As if that second had passed.
    await store.run("UPDATE schedules SET next_at = next_at - 1000 RETURNING id")
    await ticker.tick()
    (job,) = (await client.get("/api/v1/jobs", params={"tag": "schedule:nightly"})).json()["jobs"]
    assert job["kwargs"] == {"path": "a"}


async def test_the_back_offices_shape(client: httpx2.AsyncClient) -> None:
    body = {
        "task_name": "cleanup",
        "task_path": "tests.gateway.support.read",
        "task_type": "system",
        "task_enabled": True,
        "task_crontab_minute": "*/15",
        "task_crontab_hour": 3,
        "task_crontab_day_of_week": "mon-fri",
        "task_extra_config": {"queue": "high", "kwargs": {"path": "a"}},
    }
    answer = await client.post(TASKS, json=body)
    assert answer.status_code == 201, answer.text
    task = answer.json()
    assert answer.headers["location"] == f"{TASKS}/{task['id']}"
    assert {name: task[name] for name in body} == {**body, "task_path": "tests.read", "task_crontab_hour": "3"} | {
        "task_extra_config": {**body["task_extra_config"], "timezone": "UTC"}  # type: ignore[dict-item]
    }
    assert (task["task_crontab_day_of_month"], task["task_crontab_month_of_year"]) == ("*", "*")
    same = (await client.get(f"{SCHEDULES}/cleanup")).json()
    assert (same["cron"], same["type"], same["queue"]) == ("*/15 3 * * mon-fri", "system", "high")
    assert (await client.get(f"{TASKS}/{task['id']}")).json() == task
    assert (await client.get(TASKS)).json() == {"scheduled_tasks": [task], "count": 1}
    changed = await client.put(f"{TASKS}/cleanup", json={"task_crontab_hour": "4", "task_enabled": False})
    assert (changed.json()["task_crontab_hour"], changed.json()["task_crontab_minute"]) == ("4", "*/15")
    assert changed.json()["task_enabled"] is False
    job = await client.post(f"{TASKS}/cleanup/run")
    assert (job.status_code, job.json()["queue"]) == (202, "high")
    assert (await client.delete(f"{TASKS}/cleanup")).json()["task_name"] == "cleanup"
    assert (await client.get(TASKS)).json()["count"] == 0


async def test_a_task_path_of_the_owners_project_is_its_task(client: httpx2.AsyncClient) -> None:
    body = {"task_name": "t", "task_path": "src.apps.tests.tasks.read_task", "task_extra_config": {"args": ["a"]}}
    made = await client.post(TASKS, json=body)
    assert (made.status_code, made.json()["task_path"]) == (201, "tests.read")
    changed = await client.put(f"{TASKS}/t", json={"task_path": "old.tests.anything_task"})
    assert (changed.status_code, changed.json().get("task_path")) == (200, "tests.anything"), changed.text


@pytest.mark.parametrize(
    ("fields", "kind", "pointer"),
    [
        ({"task_crontab_hour": "25"}, "invalid-schedule", "/task_crontab_hour"),
        ({"task_crontab_day_of_month": "30", "task_crontab_month_of_year": "2"}, "invalid-schedule",
         "/task_crontab_day_of_month"),
        ({"task_path": "tests.reed"}, "unknown-task", "/task_path"),
        ({"task_name": "a/b"}, "invalid-submission", "/task_name"),
        ({"task_extra_config": {"queue": "nowhere", "kwargs": {"path": "a"}}}, "unknown-queue",
         "/task_extra_config/queue"),
        ({"task_extra_config": {"kwargs": {"x": 1}}}, "invalid-arguments", "/task_extra_config/kwargs/x"),
        ({"task_extra_config": {"quue": "high"}}, "invalid-schedule", "/task_extra_config/quue"),
        ({"task_crontab_hour": [1]}, "invalid-submission", "/task_crontab_hour"),
    ],
)  # fmt: skip  # a table
async def test_a_wrong_scheduled_task_is_told_in_its_own_words(
    shared_client: httpx2.AsyncClient, fields: dict[str, Any], kind: str, pointer: str
) -> None:
    body = {"task_name": "t", "task_path": "tests.read", "task_extra_config": {"kwargs": {"path": "a"}}, **fields}
    answer = await shared_client.post(TASKS, json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{kind}"), answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_an_interval_has_no_fields_in_the_back_offices_shape(client: httpx2.AsyncClient) -> None:
    await client.post(SCHEDULES, json={"name": "beat", "task": "tests.nothing", "every": 60})
    (task,) = (await client.get(TASKS)).json()["scheduled_tasks"]
    assert task["task_crontab_minute"] is None
    assert task["next_run_at"] is not None


async def test_one_of_a_newer_release_is_passed_over_in_lists_and_told_by_name(
    client: httpx2.AsyncClient, store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "new", "z"):
        await made(client, name=name)
    await store.run("UPDATE schedules SET spec = :spec WHERE name = 'new' RETURNING id", spec='{"shape": 2}')
    first = (await client.get(SCHEDULES, params={"page_size": 2})).json()
    rest = (await client.get(SCHEDULES, params={"page_token": first["next_page_token"]})).json()
    assert [each["name"] for page in (first, rest) for each in page["schedules"]] == ["a", "z"]
    assert [each["task_name"] for each in (await client.get(TASKS)).json()["scheduled_tasks"]] == ["a", "z"]
    assert "schedule new is passed over: it cannot be read by this release" in caplog.text
    for answer in (
        await client.get(f"{SCHEDULES}/new"),
        await client.patch(f"{TASKS}/new", json={"task_enabled": False}),
        await client.delete(f"{SCHEDULES}/new"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/state-conflict"), answer.text
        assert "ask a process of the release that wrote it" in answer.json()["detail"]


async def test_the_deployments_time_zone_is_written_out(store: JobStore) -> None:
    schedules = Schedules(store, Admission(REGISTRY, Defaults(timezone="Asia/Shanghai")))
    made = await schedules.create(Spec(name="s", task="tests.nothing", cron="0 2 * * *"))
    assert '"timezone":"Asia/Shanghai"' in made.spec
    assert [each.at // 1000 % 86_400 for each in await schedules.preview("s", 2)] == [18 * 3600, 18 * 3600]
