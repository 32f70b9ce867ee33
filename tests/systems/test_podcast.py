"""E · podcast generation, as its owners used it: profiles, sources, runs, the three endpoints, the audio."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sqlalchemy import update

from executors.settings import Settings
from tasks.database import Database
from tasks.packs.podcast.tables import RUNS, TABLES
from tests.support.deployment import Deployment
from tests.support.hearing import hear, share_heard
from tests.support.processes import python
from tests.support.waiting import eventually

API = "/api/podcast"
TEXT = "The library opens at nine in the morning on weekdays."
NAME = "town talk"
WISH = {"episode_profile": NAME, "speaker_profile": NAME, "episode_name": "Our town", "source_ids": ["town-library"]}


@pytest.fixture(scope="module")
def podcasts(site: Deployment) -> Deployment:
    """The deployment, with profiles and a source."""
    speakers = [{"name": "Anna"}, {"name": "Ben"}]
    for path, body in (
        ("episode-profiles", {"name": NAME, "turns": 2}),
        ("speaker-profiles", {"name": NAME, "speakers": speakers}),
        ("sources", {"id": "town-library", "title": "The library", "text": TEXT}),
    ):
        answer = site.post(f"{API}/{path}", body)
        assert answer.status_code == 201, answer.text
    return site


def asked(podcasts: Deployment, method: str, path: str, body: Any = None) -> Any:
    answer = podcasts.client.request(method, f"{API}{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json()


def accepted(podcasts: Deployment, answer: dict[str, Any]) -> str:
    """The run of an answer that has exactly the fields of this mode."""
    fields = ["run_id", "status", "created_at", "mode"] + (["celery_task_id"] if podcasts.celery else [])
    assert list(answer) == fields
    assert (answer["status"], answer["mode"]) == ("pending", podcasts.mode)
    return str(answer["run_id"])


def finished(podcasts: Deployment, run_id: str) -> dict[str, Any]:
    found = asked(podcasts, "GET", f"/runs/{run_id}")
    podcasts.ended(found["job_id"], within=60)
    run: dict[str, Any] = asked(podcasts, "GET", f"/runs/{run_id}")
    return run


def test_an_episode_from_its_sources_to_the_ear(podcasts: Deployment, tmp_path: Path) -> None:
    answer = asked(podcasts, "POST", "/generate", WISH)
    run = finished(podcasts, accepted(podcasts, answer))
    assert (run["status"], run["error"]) == ("success", None), podcasts.logs()
    task_id = answer.get("celery_task_id", run["job_id"])
    assert asked(podcasts, "GET", f"/celery/task/{task_id}") == {
        "celery_task_id": task_id,
        "status": "SUCCESS",
        "ready": True,
        "successful": True,
        "result": {"run_id": run["run_id"], "status": "done"},
    }
    job = podcasts.read(run["job_id"])
    assert (job["task"], job["queue"], job["mode"]) == ("podcast.generate", "podcast", podcasts.mode)
    assert (job["soft_time_limit"], job["time_limit"]) == (1800, 3600)
    script = " ".join(turn["text"] for turn in run["script"])
    assert [turn["speaker"] for turn in run["script"]] == ["Anna", "Ben"]
    for kind in ("wav", "mp3"):
        path = tmp_path / f"episode.{kind}"
        path.write_bytes(podcasts.client.get(f"{API}/runs/{run['run_id']}/audio.{kind}").content)
        samples, rate = soundfile.read(path, dtype="float32")
        assert abs(len(samples) / rate - run["duration"]) < 0.2
        assert 0.25 < run["duration"] / len(script.split()) < 0.7, "seconds a word"
        assert np.sqrt(np.mean(samples**2)) > 0.02, "it is not silent"
    assert share_heard(hear(path), script) >= 0.7


def test_a_run_is_created_then_started(podcasts: Deployment) -> None:
    made = asked(podcasts, "POST", "/generate", {**WISH, "start": False})
    assert list(made) == ["run_id", "status", "created_at", "mode"], "there is no task yet"
    started = asked(podcasts, "POST", f"/runs/{made['run_id']}/start")
    assert accepted(podcasts, started) == made["run_id"]
    assert podcasts.post(f"{API}/runs/{made['run_id']}/start").status_code == 409
    assert finished(podcasts, made["run_id"])["status"] == "success"


def test_a_run_that_is_being_made_is_cancelled(podcasts: Deployment) -> None:
    """A long one, while it speaks: the run is over at once, its task within the grace, and nothing is left."""
    sentence = "The library of street number {} opens at nine in the morning and closes late in the evening. "
    source = {"id": "long", "title": "Libraries", "text": "".join(sentence.format(n) for n in range(400))}
    assert podcasts.post(f"{API}/sources", source).status_code == 201
    asked(podcasts, "POST", "/episode-profiles", {"name": "long talk", "turns": 60})
    wish = {**WISH, "episode_profile": "long talk", "source_ids": ["long"]}
    run_id = accepted(podcasts, asked(podcasts, "POST", "/generate", wish))
    job_id = asked(podcasts, "GET", f"/runs/{run_id}")["job_id"]

    def speaks() -> bool:
        progress = podcasts.read(job_id)["progress"]
        return bool(progress and "turn" in progress["message"])

    eventually(speaks, 60, "it speaks")
    assert asked(podcasts, "POST", f"/runs/{run_id}/cancel")["status"] == "revoked"
    podcasts.ended(job_id)
    task = asked(podcasts, "GET", f"/celery/task/{job_id}")
    assert (task["status"], task["ready"], task["successful"], task["result"]) == ("REVOKED", True, False, None)
    assert asked(podcasts, "GET", f"/runs/{run_id}")["status"] == "revoked"
    assert podcasts.client.get(f"{API}/runs/{run_id}/audio.wav").status_code == 409
    assert podcasts.client.delete(f"{API}/runs/{run_id}").status_code == 204


def test_runs_past_their_time_are_failures(podcasts: Deployment) -> None:
    """The task that looks runs by its schedule every five minutes, and when it is asked for."""
    schedule = podcasts.client.get("/api/v1/schedules/check-timeout-tasks").json()
    assert (schedule["cron"], schedule["task"], schedule["enabled"]) == ("*/5 * * * *", "check-timeout-tasks", True)
    made = [asked(podcasts, "POST", "/generate", {**WISH, "start": False})["run_id"] for _ in range(2)]
    late, unstarted = made
    assert podcasts.post("/api/v1/queues/podcast/pause", {}).is_success
    try:
        accepted(podcasts, asked(podcasts, "POST", f"/runs/{late}/start"))
        asyncio.run(_begin_long_ago(podcasts, late))
        job = podcasts.post("/api/v1/jobs", {"task": "check-timeout-tasks"}).json()
        look = podcasts.ended(job["id"])
        assert (look["status"], look["queue"]) == ("SUCCESS", "celery")
        assert asked(podcasts, "GET", f"/runs/{late}")["status"] == "failure"
    finally:
        assert podcasts.post("/api/v1/queues/podcast/resume").is_success
    failed = finished(podcasts, late)
    assert (failed["status"], failed["error"]) == ("failure", "it was not made within its time")
    task = asked(podcasts, "GET", f"/celery/task/{failed['job_id']}")
    assert (task["status"], task["successful"]) == ("FAILURE", False), "it found its run ended, and did nothing"
    assert asked(podcasts, "GET", f"/runs/{unstarted}")["status"] == "pending"


def test_the_smoke_test_passes(podcasts: Deployment) -> None:
    command = python("-m", "gateway.cli", "--url", str(podcasts.client.base_url), "smoke", "E")
    environment = podcasts.environment()
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "podcast: works" in done.stdout


async def _begin_long_ago(podcasts: Deployment, run_id: str) -> None:
    """As if an attempt had begun an hour ago and nobody had heard of it since."""
    database = Database(TABLES)
    database.configure(Settings.from_env(podcasts.environment()).packs_url)
    begun = round((time.time() - 3600) * 1000)
    late = {"status": "STARTED", "started_at": begun, "deadline_at": begun + 1_800_000}
    async with database.writing() as tables:
        await tables.execute(update(RUNS).where(RUNS.c.id == run_id).values(**late))
    await database.close()
