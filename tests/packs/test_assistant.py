"""Conversations with a model: in order, once, and told as they go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import create_app
from tasks import BaseTaskWithRetry
from tasks.clients import chat
from tasks.errors import FatalError, Retry
from tasks.packs.assistant import ASSISTANT, conversation, generate_ai_response
from tasks.packs.assistant import settings as pack_settings
from tasks.packs.assistant.conversation import Question, Spoken
from tasks.packs.assistant.tables import CONVERSATIONS, DATABASE
from tasks.testing import Recorder
from tests.gateway.conftest import client_of
from tests.packs.assistant_support import CONVERSATIONS as HOME
from tests.packs.assistant_support import JOBS, TASKS, Assistant, assistant, model_of
from tests.support.answers import AnswerEngines
from tests.support.model import MODEL
from tests.support.waiting import eventually_async

CRM = "What is the best CRM for small businesses?"
SHOES = "running shoes for beginners"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def deployed(
    request: pytest.FixtureRequest, engines: AnswerEngines, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Assistant]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('assistant') / 'jobs.db'}"
    else:
        url = request.getfixturevalue("postgres_server").fresh()
    async with assistant(url, {**model_of(engines), "ASSISTANT_PROMPT": "Be brief."}) as made:
        yield made


@pytest.fixture
async def site(deployed: Assistant, answers: AnswerEngines) -> Assistant:
    """Nothing was said yet, and the model is well."""
    async with DATABASE.writing() as tables:
        await tables.execute(delete(CONVERSATIONS))
    return deployed


async def test_a_conversation_goes_on_where_it_stood(site: Assistant, answers: AnswerEngines) -> None:
    job = await site.ask("c1", CRM, user_id="u1")
    result = (await site.ended(job))["result"]
    tokens = result["tokens"]
    assert result["conversation_id"] == "c1"
    assert tokens["total"] == tokens["prompt"] + tokens["completion"] > 0
    assert result["cost"] == pytest.approx((tokens["prompt"] * 2 + tokens["completion"] * 8) / 1e6)
    second = await site.answered("c1", SHOES, temperature=0.1, user_id="u1")
    asked = answers.calls("openai")[-1].body
    before = [{"role": "user", "content": CRM}, {"role": "assistant", "content": result["response"]}]
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        *before,
        {"role": "user", "content": SHOES},
    ]
    assert (asked["temperature"], answers.calls("openai")[0].body["temperature"]) == (0.1, 0.7)
    assert await site.said("c1") == [
        ("user", CRM), ("assistant", result["response"]), ("user", SHOES), ("assistant", second["response"]),
    ]  # fmt: skip
    listed = (await site.client.get(f"{HOME}?user_id=u1")).json()["conversations"]
    assert [(one["id"], one["messages"], one["answering"]) for one in listed] == [("c1", 4, None)]
    assert listed[0]["total_tokens"] == tokens["total"] + second["tokens"]["total"]
    assert listed[0]["cost"] == pytest.approx(result["cost"] + second["cost"])
    status = (await site.client.get(f"{TASKS}/status/{job}")).json()
    assert set(status) == {"task_id", "status", "result", "error", "date_done", "runtime"}
    assert (status["status"], status["result"], status["error"]) == ("SUCCESS", result, None)


async def test_the_answer_streams_into_the_jobs_live_events(site: Assistant) -> None:
    job = await site.ask("c1", CRM)
    response = (await site.ended(job))["result"]["response"]
    events = await site.events(job)
    assert "".join(data["message"] for event, data in events if event == "log") == response
    assert [data["current"] for event, data in events if event == "progress"][-1] == len(response)
    assert events[-1][0] == "done"


async def test_questions_asked_at_once_are_answered_one_after_the_other(
    site: Assistant, answers: AnswerEngines
) -> None:
    answers.switch("openai", delay=0.1)
    jobs = [await site.ask("c1", f"{CRM} {number}") for number in range(6)]
    for job in jobs:
        await site.ended(job)
    history = await site.history("c1")
    assert [message["role"] for message in history] == ["user", "assistant"] * 6
    assert [message["position"] for message in history] == list(range(1, 13))
    for question, answer in zip(history[::2], history[1::2], strict=True):
        assert question["job_id"] == answer["job_id"]
    # Each was asked with all that was said before it: nobody answered without knowing the others.
    assert [len(call.body["messages"]) for call in answers.calls("openai")] == [2, 4, 6, 8, 10, 12]


async def test_too_many_requests_are_waited_for_as_long_as_the_endpoint_asks(
    site: Assistant, answers: AnswerEngines
) -> None:
    answers.switch("openai", status=429, retry_after=1, times=1)
    job = await site.ask("c1", CRM)
    done = await site.ended(job)
    attempts = (await site.client.get(f"{JOBS}/{job}/attempts")).json()["attempts"]
    assert [attempt["status"] for attempt in attempts] == ["RETRY", "SUCCESS"]
    assert "answered 429: The test asked for 429." in attempts[0]["error"]["message"]
    assert done["attempt"] == 2
    assert [role for role, _ in await site.said("c1")] == ["user", "assistant"]


async def test_an_answer_that_is_cut_is_asked_for_again(site: Assistant, answers: AnswerEngines) -> None:
    answers.switch("openai", cut=True, times=1)
    job = await site.ask("c1", CRM)
    await eventually_async(lambda: _is(site, job, "RETRY"))
    assert [role for role, _ in await site.said("c1")] == ["user"]
    first = (await site.client.get(f"{JOBS}/{job}")).json()
    assert "broke off" in first["error"]["message"]
    other = await site.answered("c1", SHOES)
    assert [len(call.body["messages"]) for call in answers.calls("openai")] == [2, 2]
    # Its turn comes again, behind what was said meanwhile.
    context = Recorder(job).context
    spoken = await generate_ai_response(context, "c1", CRM)
    said = [("user", SHOES), ("assistant", other["response"]), ("user", CRM), ("assistant", spoken.response)]
    assert await site.said("c1") == said
    await site.client.post(f"{TASKS}/cancel/{job}")


async def test_a_wrong_key_fails_for_good_and_leaves_the_conversation_free(
    site: Assistant, answers: AnswerEngines
) -> None:
    answers.switch("openai", status=401, times=1)
    failed = await site.ended(await site.ask("c1", CRM), "FAILURE")
    assert (failed["attempt"], failed["error"]["type"]) == (1, "FatalError")
    assert "answered 401" in failed["error"]["message"]
    await site.answered("c1", SHOES)
    # Some models take no question after a question: one without an answer is not sent again.
    assert [message["content"] for message in answers.calls("openai")[-1].body["messages"]] == ["Be brief.", SHOES]
    assert [role for role, _ in await site.said("c1")] == ["user", "user", "assistant"]
    answers.switch("openai", empty=True, times=1)
    silent = await site.ended(await site.ask("c1", CRM), "FAILURE")
    assert "the model said nothing" in silent["error"]["message"]


async def test_a_cancelled_job_hangs_up_and_lets_others_go_on(site: Assistant, answers: AnswerEngines) -> None:
    answers.switch("openai", delay=60, times=1)
    job = await site.ask("c1", CRM)
    await eventually_async(lambda: _asked(answers, 1))
    assert await _holder() == job
    waiting = await site.ask("c1", SHOES)
    await eventually_async(lambda: _is(site, waiting, "STARTED"))
    cancelled = await site.client.post(f"{TASKS}/cancel/{job}")
    assert cancelled.status_code == 200
    await site.ended(job, "REVOKED")
    assert (await site.ended(waiting))["result"]["response"]


async def test_who_held_the_conversation_and_runs_no_more_is_passed_over(site: Assistant) -> None:
    gone = (await site.answered("c1", CRM), "0197c0de-0000-7000-8000-000000000000")[1]
    async with DATABASE.writing() as tables:
        await tables.execute(update(CONVERSATIONS).values(holder=gone))
    assert (await site.answered("c1", SHOES))["response"]


async def test_another_users_conversation_is_not_gone_on_with(site: Assistant, answers: AnswerEngines) -> None:
    await site.answered("c1", CRM, user_id="u1")
    failed = await site.ended(await site.ask("c1", SHOES, user_id="u2"), "FAILURE")
    assert "belongs to another user" in failed["error"]["message"]
    assert (len(answers.calls("openai")), len(await site.history("c1"))) == (1, 2)
    assert (await site.client.get(f"{HOME}?user_id=u2")).json() == {"conversations": []}


async def test_a_conversation_is_deleted_with_its_messages(site: Assistant) -> None:
    await site.answered("c 1?ü", CRM)
    assert (await site.client.get(f"{HOME}/c1")).status_code == 404
    await site.answered("7", CRM)
    assert (await site.client.delete(f"{HOME}/7")).status_code == 204
    assert (await site.client.delete(f"{HOME}/7")).status_code == 404
    listed = (await site.client.get(HOME)).json()["conversations"]
    assert [one["id"] for one in listed] == ["c 1?ü"]
    assert [role for role, _ in await site.said("c%201%3F%C3%BC")] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({"conversation_id": "", "user_message": "hi"}, "/conversation_id"),
        ({"conversation_id": "c1", "user_message": ""}, "/user_message"),
        ({"conversation_id": "c1", "user_message": "hi", "temperature": 3}, "/temperature"),
        ({"conversation_id": "c1", "user_message": "hi", "temprature": 1}, "/temprature"),
        ({"conversation_id": "c1"}, ""),
        ({"conversation_id": ["c1"], "user_message": "hi"}, "/conversation_id"),
        ({"conversation_id": "a/b", "user_message": "hi"}, "/conversation_id"),
    ],
)
async def test_wrong_arguments_are_told_where_they_stand(site: Assistant, arguments: Any, pointer: str) -> None:
    answer = await site.client.post(f"{TASKS}/ai/generate", json=arguments)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "/problems/invalid-arguments"), problem
    assert problem["errors"][0]["pointer"] == pointer


async def test_a_rerun_finds_its_answer_and_asks_nobody(site: Assistant, answers: AnswerEngines) -> None:
    first = await generate_ai_response(Recorder("job-1").context, 7, "hi \x00 there")
    again = await generate_ai_response(Recorder("job-1", 2).context, 7, "hi \x00 there")
    assert (again, first.conversation_id) == (first, 7)
    assert len(answers.calls("openai")) == 1
    assert (await site.history("7"))[0]["content"] == "hi \ufffd there"


async def test_of_two_runs_of_a_job_one_writes(site: Assistant) -> None:
    question = Question(job_id="job-1", conversation_id="c1", user_id=None, content="hi")
    async with conversation.turn(Recorder().context, question, 5) as before:
        assert before == []
        assert await conversation.write(question, spoken("first")) == spoken("first")
        async with DATABASE.writing() as tables:
            await tables.execute(update(CONVERSATIONS).values(holder="job-2"))
        assert await conversation.write(question, spoken("second")) == spoken("first")
        late = Question(job_id="job-3", conversation_id="c1", user_id=None, content="hi")
        with pytest.raises(Retry, match="answered meanwhile"):
            await conversation.write(late, spoken("late"))
        await site.client.delete(f"{HOME}/c1")
        with pytest.raises(FatalError, match="deleted meanwhile"):
            await conversation.write(late, spoken("late"))


async def test_a_small_real_model_answers(database_url: str, model_url: str) -> None:
    model = {"ASSISTANT_CHAT_URL": model_url, "ASSISTANT_CHAT_MODEL": MODEL, "ASSISTANT_MAX_TOKENS": "40"}
    async with assistant(database_url, model) as site:
        job = await site.ask("c1", "Say hello.", temperature=0.1, user_id="u1")
        result = (await site.ended(job))["result"]
        assert result["response"].strip()
        assert result["tokens"]["total"] == result["tokens"]["prompt"] + result["tokens"]["completion"] > 10
        assert (result["cost"], result["model"]) == (None, MODEL), "without prices no cost is told"
        lines = [data["message"] for event, data in await site.events(job) if event == "log"]
        assert "".join(lines) == result["response"]
        assert (await site.said("c1"))[1] == ("assistant", result["response"])
        longer = await site.answered("c1", "And now say goodbye.", temperature=0.1)
        assert longer["tokens"]["prompt"] > result["tokens"]["prompt"]


async def test_without_a_model_the_task_is_refused(tmp_path: Any) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/jobs.db", task_modules=("tasks.packs.assistant",))
    found = assembly.load_tasks(settings)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        answer = await client.post(f"{TASKS}/ai/generate", json={"conversation_id": "c", "user_message": "hi"})
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-configured")
        assert "ASSISTANT_CHAT_URL and ASSISTANT_CHAT_MODEL" in answer.json()["detail"]
    await packs.close(found)


async def test_the_task_is_declared_as_the_platform_had_it(site: Assistant) -> None:
    tasks = {task["name"]: task for task in (await site.client.get(TASKS)).json()["tasks"]}
    generate = tasks["generate_ai_response"]
    assert (generate["queue"], generate["rate_limit"], generate["priority"]) == ("ai_high_priority", "10/m", 9)
    assert (generate["max_retries"], generate["retry_backoff"]) == (3, 60)
    queues = {name: task["queue"] for name, task in tasks.items()}
    assert queues["send_notification"] == "notification_default"
    assert queues["cleanup_expired_results"] == queues["check_task_health"] == "default"


def test_its_base_retries_after_one_two_and_four_minutes() -> None:
    policy = generate_ai_response.retry
    assert policy.max_retries == BaseTaskWithRetry.max_retries == 3
    assert [policy.delay(failures, lambda: 0.0) for failures in (1, 2, 3)] == [60, 120, 240]


def test_costs_are_told_where_tokens_and_prices_are_known() -> None:
    priced = pack_settings.Settings(assistant_price_input=0.5, assistant_price_output=1.5)
    usage = chat.Usage(1_000, 2_000, 3_000)
    assert (priced.cost(usage), priced.cost(None)) == (0.0035, None)
    assert pack_settings.Settings(assistant_price_input=1.0).cost(usage) is None
    assert ASSISTANT.variables["assistant_chat_key"] == "ASSISTANT_CHAT_KEY"


def spoken(text: str) -> Spoken:
    nothing = dict.fromkeys(("model", "prompt_tokens", "completion_tokens", "total_tokens", "cost"))
    return Spoken(content=text, **nothing)


async def _is(site: Assistant, job: str, status: str) -> bool:
    return bool((await site.client.get(f"{JOBS}/{job}")).json()["status"] == status)


async def _asked(answers: AnswerEngines, times: int) -> bool:
    return len(answers.calls("openai")) == times


async def _holder() -> str | None:
    async with DATABASE.reading() as tables:
        holder: str | None = await tables.scalar(select(CONVERSATIONS.c.holder))
        return holder
