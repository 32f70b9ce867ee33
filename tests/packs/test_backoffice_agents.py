"""Agents over HTTP, on each kind of database, with a server that speaks as the vendors do in their models' place."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from tasks.clients import chat
from tasks.clients.chat import Answer, ToolCall
from tasks.errors import FatalError, Retry
from tasks.packs.backoffice import runs, tools
from tasks.packs.backoffice.agent_tasks import execute_agent_periodic_task
from tasks.packs.backoffice.arithmetic import calculate
from tasks.packs.backoffice.conversation import MAX_TURNS, Called, Conversation
from tasks.packs.backoffice.pack import BACKOFFICE
from tasks.packs.backoffice.settings import Settings
from tasks.packs.backoffice.tables import DATABASE, RUNS
from tasks.testing import Recorder
from tests.packs.office import client, office, ran
from tests.support.answers import AnswerEngines
from tests.support.model import MODEL
from tests.support.waiting import eventually_async

__all__ = ["client", "office"]

AGENT = "/api/backoffice/agents"
EXECUTE = "execute_agent_periodic_task"


async def made(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post(AGENT, json={"name": "scout", "prompt": "What is the best CRM?", **fields})
    assert answer.status_code == 201, answer.text
    agent: dict[str, Any] = answer.json()
    return agent


async def run_now(client: httpx2.AsyncClient, agent: dict[str, Any]) -> dict[str, Any]:
    """The ended job."""
    begun = await client.post(f"{AGENT}/{agent['id']}/run")
    assert begun.status_code == 202, begun.text
    job: dict[str, Any] = (await client.get(f"/api/v1/jobs/{begun.json()['job_id']}?wait=20")).json()
    return job


async def last_run(client: httpx2.AsyncClient, agent: dict[str, Any]) -> dict[str, Any]:
    run: dict[str, Any] = (await client.get(f"{AGENT}/{agent['id']}/runs?limit=1")).json()["runs"][0]
    return run


async def health(client: httpx2.AsyncClient, agent: dict[str, Any]) -> tuple[str, str]:
    """As the check finds it."""
    await ran(client, "periodic_agent_health_check")
    read = (await client.get(f"{AGENT}/{agent['id']}")).json()
    assert read["checked_at"] is not None
    return read["health"], read["health_reason"]


async def test_a_run_asks_the_model_uses_its_tools_and_is_recorded(
    client: httpx2.AsyncClient, answers: AnswerEngines
) -> None:
    agent = await made(client, tools=["calculate", "session_statistics"], instructions="Be brief.", model="large")
    answers.switch("openai", tool={"name": "calculate", "arguments": {"expression": "6 * 7"}}, times=2)
    job = await run_now(client, agent)
    assert (job["status"], job["queue"]) == ("SUCCESS", "priority_high"), job
    run = await last_run(client, agent)
    assert job["result"] == run
    assert (run["state"], run["answer"], run["error"]) == ("success", 'The tool says: {"value":42}', None)
    called = {"name": "calculate", "arguments": '{"expression": "6 * 7"}', "result": '{"value":42}'}
    assert (run["tool_calls"], run["job_id"], run["attempt"]) == ([called], job["id"], 1)
    assert run["total_tokens"] == run["prompt_tokens"] + run["completion_tokens"] > 0
    assert run["started_at"] <= run["ended_at"]
    first, second = (call.body for call in answers.calls("openai"))
    assert (first["model"], first["messages"][0]) == ("large", {"role": "system", "content": "Be brief."})
    assert [tool["function"]["name"] for tool in first["tools"]] == ["calculate", "session_statistics"]
    assert first["tools"][0]["function"]["parameters"]["required"] == ["expression"]
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]


async def test_a_run_that_fails_is_recorded_and_marks_its_agent(
    client: httpx2.AsyncClient, answers: AnswerEngines
) -> None:
    agent = await made(client)
    assert await health(client, agent) == ("new", "")
    answers.switch("openai", status=401, times=1)
    job = await run_now(client, agent)
    run = await last_run(client, agent)
    assert (job["status"], run["state"], run["answer"]) == ("FAILURE", "failure", None)
    assert "401" in run["error"]
    assert run["error"] in job["error"]["message"]
    state, reason = await health(client, agent)
    assert (state, "the last run failed" in reason, "401" in reason) == ("failing", True, True)
    assert (await run_now(client, agent))["status"] == "SUCCESS"
    assert await health(client, agent) == ("ok", "")
    pages = [(await client.get(f"{AGENT}/{agent['id']}/runs", params={"before": before})).json()["runs"]
             for before in (1_000_000, run["id"] + 1, run["id"])]  # fmt: skip  # one list
    assert [[each["state"] for each in page] for page in pages] == [["success", "failure"], ["failure"], []]


async def test_what_may_pass_is_tried_again_and_stays_one_run(
    client: httpx2.AsyncClient, answers: AnswerEngines
) -> None:
    agent = await made(client)
    answers.switch("openai", status=429, retry_after=0, times=1)
    job = await run_now(client, agent)
    assert (job["status"], job["attempt"]) == ("SUCCESS", 2)
    found = (await client.get(f"{AGENT}/{agent['id']}/runs")).json()["runs"]
    assert [(run["state"], run["attempt"], run["error"]) for run in found] == [("success", 2, None)]


@pytest.mark.parametrize(
    ("said", "error", "calls"),
    [
        (Answer(text="", tool_calls=(ToolCall("1", "current_time", "{}"),)), "8 times and gave no answer", MAX_TURNS),
        (Answer(text="", tool_calls=(ToolCall("1", "current_time", "{}"),) * 17), "17 tools at once", 0),
        (Answer(text=" ", finish="length"), r"said nothing \(finish: length\)", 0),
    ],
)
async def test_a_model_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, said: Answer, error: str, calls: int
) -> None:
    async def complete(*_: Any, **__: Any) -> Answer:
        return said

    monkeypatch.setattr(chat, "complete", complete)
    talk = Conversation(Settings().endpoint("m"), "", "?", ("current_time",))
    with pytest.raises((FatalError, Retry), match=error):
        await talk.answer(Recorder().context)
    assert (len(talk.calls), talk.prompt_tokens) == (calls, None)


async def test_a_run_that_is_cancelled_ends(client: httpx2.AsyncClient, answers: AnswerEngines) -> None:
    agent = await made(client)
    answers.switch("openai", delay=60, times=1)
    begun = (await client.post(f"{AGENT}/{agent['id']}/run")).json()

    async def asked() -> bool:
        return bool(answers.calls("openai"))

    await eventually_async(asked)
    assert (await last_run(client, agent))["state"] == "running"
    await client.post(f"/api/v1/jobs/{begun['job_id']}/cancel")
    assert (await client.get(f"/api/v1/jobs/{begun['job_id']}?wait=20")).json()["status"] == "REVOKED"
    assert (await last_run(client, agent))["state"] == "failure"


async def test_its_schedule_is_made_changed_and_taken_away_with_it(client: httpx2.AsyncClient) -> None:
    agent = await made(client, cron="0 6 * * *", timezone="Europe/Berlin")
    own = (await client.get("/api/v1/schedules/agent%20scout")).json()
    assert (own["task"], own["kwargs"], own["cron"]) == (EXECUTE, {"agent_id": agent["id"]}, "0 6 * * *")
    at = f"{AGENT}/{agent['id']}"
    changed = (await client.patch(at, json={"every": 90, "enabled": False, "prompt": "And now?"})).json()
    (when,) = changed["schedules"]
    assert (changed["prompt"], when["cron"], when["every"], when["enabled"]) == ("And now?", None, 90.0, False)
    assert (await client.patch(at, json={"enabled": True})).json()["schedules"][0]["next_run_at"] is not None
    hand = {"task_name": "other", "task_path": EXECUTE, "task_crontab_minute": "7",
            "task_extra_config": {"kwargs": {"agent_id": agent["id"]}}}  # fmt: skip  # one body
    assert (await client.post("/api/v1/scheduled-tasks", json=hand)).status_code == 201
    assert [each["name"] for each in (await client.get(at)).json()["schedules"]] == ["agent scout", "other"]
    assert (await client.delete(at)).status_code == 204
    for name in ("agent%20scout", "other"):
        assert (await client.get(f"/api/v1/schedules/{name}")).status_code == 404
    assert (await client.get(at)).status_code == 404


async def test_an_agent_without_a_schedule_is_given_one(client: httpx2.AsyncClient) -> None:
    agent = await made(client)
    at = f"{AGENT}/{agent['id']}"
    refused = await client.patch(at, json={"enabled": False, "prompt": "lost"})
    assert refused.status_code == 409
    assert (await client.get(at)).json()["prompt"] == agent["prompt"], "all or nothing"
    assert (await client.patch(at, json={"cron": "0 0 * * *"})).json()["schedules"][0]["enabled"] is True


async def test_one_that_fires_and_does_not_run_is_overdue(client: httpx2.AsyncClient, answers: AnswerEngines) -> None:
    await client.post("/api/v1/queues/priority_high/pause")
    agent = await made(client, every=1)

    async def overdue() -> bool:
        return (await health(client, agent))[0] == "overdue"

    await eventually_async(overdue)
    assert "agent scout" in (await health(client, agent))[1]
    await client.patch(f"{AGENT}/{agent['id']}", json={"enabled": False})
    await client.post("/api/v1/queues/priority_high/resume")

    async def well() -> bool:
        return (await health(client, agent))[0] == "ok"

    await eventually_async(well)


async def test_a_run_whose_worker_was_lost_is_ended_by_the_check(client: httpx2.AsyncClient) -> None:
    agent = await made(client)
    assert await runs.begin(agent["id"], "lost-job", 1) is None
    async with DATABASE.writing() as tables:
        await tables.execute(update(RUNS).values(started_at=RUNS.c.started_at - 3_600_000))
    assert (await ran(client, "periodic_agent_health_check"))["lost_runs"] == 1
    run = await last_run(client, agent)
    assert (run["state"], "lost" in run["error"]) == ("failure", True)
    assert (await health(client, agent))[0] == "failing"


async def test_a_job_that_runs_twice_asks_once_and_the_older_attempt_ends_nothing(client: httpx2.AsyncClient) -> None:
    agent = await made(client)
    talk = Conversation(Settings().endpoint("m"), "", "?", ())
    await runs.begin(agent["id"], "job", 1)
    await runs.begin(agent["id"], "job", 2)
    await runs.fail("job", 1, talk, "too late")
    assert (await last_run(client, agent))["state"] == "running"
    talk.calls.append(Called("calculate", "{}", "{}"))
    done = await runs.succeed("job", 2, talk, "yes")
    assert (done.answer, done.total_tokens, done.attempt) == ("yes", None, 2)
    assert await runs.begin(agent["id"], "job", 3) == done
    assert await runs.forget(0) == 0, "an agent's last run stays"


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"name": "a/b"}, 422, "/name"),
        ({"prompt": ""}, 422, "/prompt"),
        ({"tools": ["shell"]}, 422, "/tools/0"),
        ({"cron": "61 * * * *"}, 422, "/cron"),
        ({"every": 0.1}, 422, "/every"),
        ({"cron": "0 0 * * *", "timezone": "Mars/Base"}, 422, "/timezone"),
        ({"name": "twin"}, 409, None),
    ],
)
async def test_a_wrong_agent_is_told_where_and_leaves_nothing(
    client: httpx2.AsyncClient, body: dict[str, Any], status: int, pointer: str | None
) -> None:
    await made(client, name="twin")
    answer = await client.post(AGENT, json={"name": "wrong", "prompt": "x", **body})
    faults = answer.json().get("errors") or [{}]
    assert (answer.status_code, faults[0].get("pointer")) == (status, pointer), answer.text
    assert [agent["name"] for agent in (await client.get(AGENT)).json()["agents"]] == ["twin"]


async def test_a_page_before_what_no_run_can_be_is_refused(client: httpx2.AsyncClient) -> None:
    agent = await made(client)
    answer = await client.get(f"{AGENT}/{agent['id']}/runs", params={"before": 10**12})
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "before")


async def test_one_that_is_not_there(client: httpx2.AsyncClient) -> None:
    for method, path in [("GET", "/9"), ("PATCH", "/9"), ("DELETE", "/9"), ("POST", "/9/run"), ("GET", "/9/runs"),
                         ("GET", "/x"), ("GET", "/99999999999999999999")]:  # fmt: skip  # one list
        answer = await client.request(method, AGENT + path, json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), (method, path)
    gone = await client.post("/api/v1/jobs?wait=20", json={"task": EXECUTE, "args": [9]})
    job = (await client.get(f"/api/v1/jobs/{gone.json()['id']}?wait=20")).json()
    assert (job["status"], job["attempt"]) == ("FAILURE", 1)
    assert "delete the schedule" in job["error"]["message"]


def test_without_an_endpoint_it_says_what_to_set() -> None:
    told = BACKOFFICE._settings
    BACKOFFICE.configure(Settings(backoffice_chat_url="http://127.0.0.1:9/v1"))
    try:
        assert execute_agent_periodic_task.needs is not None
        assert "BACKOFFICE_CHAT_MODEL" in execute_agent_periodic_task.needs()
    finally:
        BACKOFFICE._settings = told


@pytest.mark.parametrize(
    ("expression", "value"),
    [("6 * 7", 42), ("-(2 + 3) ** 2", -25), ("7 // 2 + 7 % 4", 6), ("1 / 4", 0.25), (" 2**-1 ", 0.5)],
)
def test_arithmetic(expression: str, value: float) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("1 / 0", "zero"),
        ("__import__('os')", "Call"),
        ("(1).real", "Attribute"),
        ("[1] * 9", "List"),
        ("'a' * 9", "no number"),
        ("True + 1", "no number"),
        ("9 ** 9 ** 9", "exponent"),
        ("10.0 ** 400", "too large"),
        ("2 ** 1000 * 2 ** 1000", "too large"),
        ("(-1) ** 0.5", "no number"),
        ("1 +", "no arithmetic"),
        ("1" * 201, "at most"),
        ("(" * 150 + ")" * 10, "no arithmetic"),
        ("1e999", "too large"),
    ],
)
def test_what_is_no_arithmetic_is_refused(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        calculate(expression)


async def test_the_tools_say_the_truth(client: httpx2.AsyncClient) -> None:
    async def use(name: str, **arguments: Any) -> Any:
        return json.loads(await tools.use(ToolCall("1", name, json.dumps(arguments)), tuple(tools.TOOLS)))

    shanghai = await use("current_time", timezone="Asia/Shanghai")
    assert shanghai["time"].endswith("+08:00")
    assert "not an IANA time zone" in (await use("current_time", timezone="Mars"))["error"]
    assert "length" in (await use("calculate", expression="1" * 500))["error"]
    assert "missing" in (await use("calculate"))["error"]
    assert "no tool 'shell'" in (await use("shell"))["error"]
    assert (await use("session_statistics"))["total"] == 0
    later = {"task": "scheduled_task.test_task", "countdown": 600, "queue": "priority_low"}
    job = (await client.post("/api/v1/jobs", json=later)).json()
    found = await use("queue_depth")
    assert (found["waiting"]["priority_low"], await use("queue_depth", queue="system")) == (
        1,
        {"waiting": {"system": 0}, "running": found["running"]},
    )
    await client.post(f"/api/v1/jobs/{job['id']}/cancel")
    listed = (await client.get("/api/backoffice/agent-tools")).json()
    assert list(listed) == list(tools.TOOLS)


async def test_a_real_model_takes_the_tools_description_and_answers(model_url: str) -> None:
    endpoint = Settings(backoffice_chat_url=model_url, backoffice_chat_model=MODEL).endpoint("")
    talk = Conversation(endpoint, "Answer in one word.", "What is the capital of France?", tuple(tools.TOOLS))
    assert await talk.answer(Recorder().context)
    assert talk.prompt_tokens
    assert talk.completion_tokens
