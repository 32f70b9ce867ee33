"""What a deployment says about its podcasts, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Dialect, Integer, MetaData, TypeDecorator, literal, select

from executors import assembly
from executors.settings import Settings
from tasks.clients import chat
from tasks.database import Database
from tasks.errors import ConfigurationError, SoftTimeLimitExceeded
from tasks.packs.podcast import author, run
from tests.packs.podcast_site import API, LIBRARY, WISH, ended, read, served, settings_of
from tests.support.answers import AnswerEngines


async def test_a_run_has_half_an_hour_unless_the_deployment_says_otherwise(tmp_path: Path) -> None:
    async with served(settings_of(f"sqlite:///{tmp_path}/jobs.db", tmp_path)) as podcasts:
        await podcasts.post("/api/v1/queues/podcast/pause", json={})
        run_id = (await podcasts.post(f"{API}/generate", json=WISH)).json()["run_id"]
        job = (await podcasts.get(f"/api/v1/jobs/{(await read(podcasts, run_id))['job_id']}")).json()
        assert (job["queue"], job["soft_time_limit"], job["time_limit"]) == ("podcast", 1800, 3600)
        schedule = (await podcasts.get("/api/v1/schedules/check-timeout-tasks")).json()
        assert (schedule["cron"], schedule["task"]) == ("*/5 * * * *", "check-timeout-tasks")
        tasks = {task["name"]: task["queue"] for task in (await podcasts.get("/api/v1/tasks")).json()["tasks"]}
        assert tasks == {"podcast.generate": "podcast", "check-timeout-tasks": "celery"}


async def test_a_run_that_takes_longer_is_a_failure_and_is_not_tried_again(database_url: str, tmp_path: Path) -> None:
    environment = {"CELERY_TASK_SOFT_TIME_LIMIT": "0.001", "CELERY_TASK_TIME_LIMIT": "30"}
    async with served(settings_of(database_url, tmp_path, **environment)) as podcasts:
        run_id = (await podcasts.post(f"{API}/generate", json=WISH)).json()["run_id"]
        found = await ended(podcasts, run_id)
        assert (found["status"], found["error"]) == ("failure", run.OVERDUE)
        job = (await podcasts.get(f"/api/v1/jobs/{found['job_id']}")).json()
        assert (job["status"], job["error"]["code"], job["attempt"]) == ("FAILURE", "timeout", 1)
        assert (job["soft_time_limit"], job["time_limit"]) == (0.001, 30)


def test_the_variables_of_that_system_mean_the_same_here() -> None:
    usual = Settings.from_env({})
    assert (usual.use_celery, usual.celery_concurrency) == (False, 4)
    assert usual.broker_url == "redis://127.0.0.1:6379/0"
    kept = Settings.from_env({"USE_CELERY": "1", "CELERY_RESULT_BACKEND": "redis://localhost:6379/1"})
    assert (kept.mode, kept.unread) == ("celery", ())


class Stopping(TypeDecorator[int]):
    """A value in whose statement the body is stopped."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int:
        raise SoftTimeLimitExceeded


async def test_a_body_stopped_in_the_middle_of_a_statement_learns_why(tmp_path: Path) -> None:
    database = Database(MetaData())
    database.configure(f"sqlite:///{tmp_path}/tables.db")
    with pytest.raises(SoftTimeLimitExceeded):
        async with database.writing() as tables:
            await tables.execute(select(literal(1, Stopping())))
    await database.close()


async def test_the_model_is_asked_where_there_is_one(
    tmp_path: Path, answers: AnswerEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {
        "PODCAST_CHAT_URL": f"{answers.url('openai')}/v1",
        "PODCAST_CHAT_KEY": answers.key,
        "PODCAST_CHAT_MODEL": "gpt-5-mini",
    }
    async with served(settings_of(f"sqlite:///{tmp_path}/jobs.db", tmp_path, **model)) as podcasts:
        run_id = (await podcasts.post(f"{API}/generate", json=WISH)).json()["run_id"]
        found = await ended(podcasts, run_id)
        (call,) = answers.calls("openai")
        assert LIBRARY in json.dumps(call.body)
        # The answer engines write no dialogues: the job says so, and the script is drawn from the sources.
        assert (found["status"], found["script_by"]) == ("success", "sources")
        log = (await podcasts.get(f"/api/v1/jobs/{found['job_id']}/logs")).text
        assert "the model's script was no use" in log

        async def dialogue(*_: object, **__: object) -> chat.Answer:
            return chat.Answer(text="Anna: What opens at nine?\nBen: The library does.")

        monkeypatch.setattr(author, "complete", dialogue)
        run_id = (await podcasts.post(f"{API}/generate", json=WISH)).json()["run_id"]
        written = await ended(podcasts, run_id)
        assert (written["status"], written["script_by"]) == ("success", "model")
        assert [turn["text"] for turn in written["script"]] == ["What opens at nine?", "The library does."]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"CELERY_TASK_SOFT_TIME_LIMIT": "60", "CELERY_TASK_TIME_LIMIT": "60"}, "must be below CELERY_TASK_TIME_LIMIT"),
        ({"PODCAST_CHAT_URL": "http://127.0.0.1:1/v1"}, "PODCAST_CHAT_MODEL go together"),
        ({"CELERY_TASK_TIME_LIMIT": "soon"}, "CELERY_TASK_TIME_LIMIT='soon' is wrong"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        assembly.load_tasks(settings_of(f"sqlite:///{tmp_path}/jobs.db", tmp_path, **environment))
