"""The podcast pack as a gateway serves it: profiles and sources, runs from their making to their end, the audio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from tasks import Cancelled, FatalError, LeaseLost
from tasks.admission import new_id
from tasks.job import State
from tasks.packs.podcast import PODCAST, check_timeout_tasks, folder, production, run, speech
from tasks.packs.podcast.run import Hold
from tasks.packs.podcast.source import now
from tasks.packs.podcast.tables import DATABASE, RUNS
from tasks.testing import Recorder
from tests.packs.podcast_site import API, LIBRARY, WISH, ended, read, served, settings_of

make = production.generate.function


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def podcasts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx2.AsyncClient]:
    """One gateway for all tests, on a database of each kind."""
    place = tmp_path_factory.mktemp("podcasts")
    url = f"sqlite:///{place}/jobs.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").fresh()
    async with served(settings_of(url, place)) as client:
        yield client


@pytest.fixture
async def paused(podcasts: httpx2.AsyncClient) -> AsyncIterator[None]:
    """No run begins."""
    assert (await podcasts.post("/api/v1/queues/podcast/pause", json={})).status_code == 200
    yield
    assert (await podcasts.post("/api/v1/queues/podcast/resume")).status_code == 200


async def started(podcasts: httpx2.AsyncClient) -> str:
    made = await podcasts.post(f"{API}/generate", json=WISH)
    assert made.status_code == 202, made.text
    return str(made.json()["run_id"])


async def created(podcasts: httpx2.AsyncClient) -> str:
    """A run that is not started."""
    made = await podcasts.post(f"{API}/generate", json={**WISH, "start": False})
    assert made.status_code == 202, made.text
    return str(made.json()["run_id"])


def place_of(run_id: str) -> Path:
    return Path(PODCAST.settings.podcast_root) / run_id


async def test_a_run_becomes_audio(podcasts: httpx2.AsyncClient, tmp_path: Path) -> None:
    made = await podcasts.post(f"{API}/generate", json=WISH)
    answer = made.json()
    assert made.status_code == 202
    assert list(answer) == ["run_id", "status", "created_at", "mode"]
    assert (answer["status"], answer["mode"]) == ("pending", "thread")
    run = await ended(podcasts, answer["run_id"])
    assert (run["status"], run["error"], run["script_by"]) == ("success", None, "sources")
    assert [turn["speaker"] for turn in run["script"]] == ["Anna", "Ben"]
    script = " ".join(turn["text"] for turn in run["script"])
    assert LIBRARY in script
    for kind in ("wav", "mp3"):
        sound = await podcasts.get(f"{API}/runs/{run['run_id']}/audio.{kind}")
        assert sound.headers["content-type"] == folder.KINDS[kind]
        assert f"Our%20town.{kind}" in sound.headers["content-disposition"]
        assert len(sound.content) == run[f"{kind}_bytes"]
        path = tmp_path / f"heard.{kind}"
        path.write_bytes(sound.content)
        samples, rate = soundfile.read(path, dtype="float32")
        assert abs(len(samples) / rate - run["duration"]) < 0.2
        assert 0.25 < len(samples) / rate / len(script.split()) < 0.7, "seconds a word"
        assert np.sqrt(np.mean(samples**2)) > 0.02, "it is not silent"


async def test_a_task_is_told_as_celery_would(podcasts: httpx2.AsyncClient) -> None:
    run_id = await started(podcasts)
    job_id = (await read(podcasts, run_id))["job_id"]
    before = (await podcasts.get(f"{API}/celery/task/{job_id}")).json()
    assert list(before) == ["celery_task_id", "status", "ready", "successful", "result"]
    await ended(podcasts, run_id)
    done = {
        "celery_task_id": job_id,
        "status": "SUCCESS",
        "ready": True,
        "successful": True,
        "result": {"run_id": run_id, "status": "done"},
    }
    assert (await podcasts.get(f"{API}/celery/task/{job_id}")).json() == done
    assert (await podcasts.get(f"{API}/celery/task/nothing")).status_code == 404


async def test_a_task_that_the_record_forgot_is_told_by_its_run(podcasts: httpx2.AsyncClient) -> None:
    mine = Hold(await created(podcasts), new_id(), 1)
    assert await run.claim(mine, 60)
    assert (await podcasts.get(f"{API}/celery/task/{mine.job_id}")).json()["status"] == "STARTED"
    assert await run.succeed(mine, 1000, 1, 1)
    assert (await podcasts.get(f"{API}/celery/task/{mine.job_id}")).json() == {
        "celery_task_id": mine.job_id,
        "status": "SUCCESS",
        "ready": True,
        "successful": True,
        "result": {"run_id": mine.run_id, "status": "done"},
    }


async def test_a_run_is_created_first_and_started_once(podcasts: httpx2.AsyncClient) -> None:
    run_id = await created(podcasts)
    waiting = await read(podcasts, run_id)
    assert (waiting["status"], waiting["job_id"], waiting["source_ids"]) == ("pending", None, ["library"])
    assert (await podcasts.get(f"{API}/runs/{run_id}/audio.mp3")).status_code == 409
    answer = await podcasts.post(f"{API}/runs/{run_id}/start")
    assert (answer.status_code, answer.json()["status"], answer.json()["run_id"]) == (202, "pending", run_id)
    again = await podcasts.post(f"{API}/runs/{run_id}/start")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/state-conflict")
    assert (await ended(podcasts, run_id))["status"] == "success"
    assert (await podcasts.post(f"{API}/runs/{run_id}/start")).status_code == 409
    assert (await podcasts.post(f"{API}/runs/nothing/start")).status_code == 404


async def test_of_two_starts_at_once_one_makes_it(podcasts: httpx2.AsyncClient) -> None:
    run_id, first, second = await created(podcasts), new_id(), new_id()
    assert await run.bind(run_id, first)
    assert not await run.bind(run_id, second)
    assert await run.bind(run_id, first)
    assert not await run.claim(Hold(run_id, second, 1), 60)
    with pytest.raises(FatalError, match=f"made by another task, {first}"):
        await make(Recorder(job=second).context, run_id)
    assert await run.claim(Hold(run_id, first, 1), 60)


async def test_a_run_whose_task_is_gone_is_started_again(podcasts: httpx2.AsyncClient) -> None:
    run_id = await created(podcasts)
    assert await run.claim(Hold(run_id, new_id(), 3), 60), "by a task that no record knows"
    assert (await podcasts.post(f"{API}/runs/{run_id}/start")).status_code == 202
    assert (await ended(podcasts, run_id))["status"] == "success"


async def test_a_job_that_has_not_ended_can_be_run_again_and_one_that_has_cannot(podcasts: httpx2.AsyncClient) -> None:
    run_id, job_id = await created(podcasts), new_id()
    first, second = Hold(run_id, job_id, 1), Hold(run_id, job_id, 2)
    assert await run.claim(first, 60)
    assert await run.claim(second, 60), "the first one's worker was lost"
    assert not await run.claim(first, 60), "an attempt does not take it back"
    assert not await run.succeed(first, 1000, 1, 1), "what it made is not wanted any more"
    assert await run.succeed(second, 1000, 1, 1)
    assert not await run.fail(second, "late")
    assert not await run.stop(second)
    assert not await run.revoke(run_id)
    assert not await run.claim(Hold(run_id, job_id, 3), 60)
    assert run_id not in await run.expire(now() + 10**9)
    assert not await run.follow(await run.read(run_id), State.FAILURE, "late")
    found = await run.read(run_id)
    assert (found.status, found.error, found.deadline_at) == (State.SUCCESS, None, None)


async def test_a_second_attempt_makes_the_same_files(podcasts: httpx2.AsyncClient) -> None:
    run_id, job_id = await created(podcasts), new_id()
    first = await make(Recorder(job=job_id).context, run_id)
    path = place_of(run_id) / "episode.wav"
    sound = path.read_bytes()
    async with DATABASE.writing() as tables:  # as if the worker had died before it could write its success down
        lost = {"status": "STARTED", "finished_at": None, "duration_ms": None}
        await tables.execute(update(RUNS).where(RUNS.c.id == run_id).values(**lost))
    changed = {"title": "Changed", "text": "All is different now, is it not?"}
    assert (await podcasts.put(f"{API}/sources/library", json=changed)).status_code == 200
    path.unlink()
    (path.parent / ".1.wav.draft").write_text("half of it")
    recorder = Recorder(job=job_id, attempt=2)
    assert await make(recorder.context, run_id) == first
    assert path.read_bytes() == sound
    assert sorted(each.name for each in path.parent.iterdir()) == ["episode.mp3", "episode.wav"]
    assert [each["message"] for each in recorder.progress] == ["turn 1 of 2: Anna", "turn 2 of 2: Ben", "done"]
    assert await make(Recorder(job=job_id, attempt=3).context, run_id) == first, "nothing is made again"
    await podcasts.put(f"{API}/sources/library", json={"title": "The library", "text": LIBRARY})


async def test_a_cancelled_run_stops_between_turns_and_leaves_nothing(podcasts: httpx2.AsyncClient) -> None:
    run_id, recorder = await created(podcasts), Recorder(job=new_id())
    recorder.stop_after(3, Cancelled)  # the script, the first turn, the second
    with pytest.raises(Cancelled):
        await make(recorder.context, run_id)
    found = await read(podcasts, run_id)
    assert (found["status"], found["error"]) == ("revoked", "cancelled while it was made")
    assert not place_of(run_id).exists()
    assert (await podcasts.post(f"{API}/runs/{run_id}/cancel")).status_code == 409


async def test_a_run_that_is_cancelled_meanwhile_never_succeeds(
    podcasts: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is made already when somebody cancels; the task was not told yet."""
    run_id, job_id = await created(podcasts), new_id()
    claim = run.claim

    async def claim_and_revoke(hold: Hold, seconds: float) -> bool:
        return await claim(hold, seconds) and await run.revoke(run_id)

    monkeypatch.setattr(run, "claim", claim_and_revoke)
    with pytest.raises(FatalError, match="has ended in REVOKED: cancelled"):
        await make(Recorder(job=job_id).context, run_id)
    assert (await read(podcasts, run_id))["status"] == "revoked"
    assert not place_of(run_id).exists()


async def test_waiting_runs_are_cancelled_with_their_tasks(podcasts: httpx2.AsyncClient, paused: None) -> None:
    unstarted = await created(podcasts)
    answer = await podcasts.post(f"{API}/runs/{unstarted}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "revoked")
    assert (await podcasts.post(f"{API}/runs/{unstarted}/start")).status_code == 409
    run_id = await started(podcasts)
    cancelled = (await podcasts.post(f"{API}/runs/{run_id}/cancel")).json()
    assert cancelled["status"] == "revoked"
    task = (await podcasts.get(f"{API}/celery/task/{cancelled['job_id']}")).json()
    assert (task["status"], task["ready"], task["successful"], task["result"]) == ("REVOKED", True, False, None)


async def test_a_run_ends_with_its_task(podcasts: httpx2.AsyncClient, paused: None) -> None:
    """Cancelled as a job, past the pack: the run is told when it is looked at, and by the regular look at all."""
    seen, unseen = await started(podcasts), await started(podcasts)
    for run_id in (seen, unseen):
        job_id = (await run.read(run_id)).job_id
        assert (await podcasts.post(f"/api/v1/jobs/{job_id}/cancel")).status_code == 200
    assert (await read(podcasts, seen))["status"] == "revoked"
    assert list((await check_timeout_tasks.function()).ended) == [unseen]
    assert (await run.read(unseen)).status == "REVOKED"


async def test_runs_past_their_time_are_failures(podcasts: httpx2.AsyncClient) -> None:
    late, timely, unstarted = [await created(podcasts) for _ in range(3)]
    mine = Hold(late, new_id(), 1)
    assert await run.claim(mine, 0)
    assert await run.claim(Hold(timely, new_id(), 1), 1800)
    assert list((await check_timeout_tasks.function()).timed_out) == [late]
    found = await read(podcasts, late)
    assert (found["status"], found["error"]) == ("failure", run.OVERDUE)
    assert [(await read(podcasts, each))["status"] for each in (timely, unstarted)] == ["started", "pending"]
    assert not await run.succeed(mine, 1000, 1, 1)


async def test_what_may_pass_is_tried_again_and_what_will_not_fails_the_run(
    podcasts: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(speech, "record", broken)
    run_id, job_id = await created(podcasts), new_id()
    with pytest.raises(OSError, match="full"):
        await make(Recorder(job=job_id).context, run_id)
    between = await read(podcasts, run_id)
    assert (between["status"], between["error"]) == ("started", "the disk is full")
    assert run_id not in await run.expire(now() + 10**9), "no time runs out between two attempts"
    with pytest.raises(OSError, match="full"):  # the last of four
        await make(Recorder(job=job_id, attempt=4).context, run_id)
    failed = await read(podcasts, run_id)
    assert (failed["status"], failed["error"]) == ("failure", "the disk is full")
    with pytest.raises(FatalError, match="has ended in FAILURE: the disk is full"):
        await make(Recorder(job=job_id, attempt=5).context, run_id)


async def test_an_attempt_that_lost_its_lease_leaves_the_run_to_the_next(podcasts: httpx2.AsyncClient) -> None:
    run_id, job_id = await created(podcasts), new_id()
    recorder = Recorder(job=job_id)
    recorder.stop_after(2, LeaseLost)
    with pytest.raises(LeaseLost):
        await make(recorder.context, run_id)
    assert (await read(podcasts, run_id))["status"] == "started"
    assert (await make(Recorder(job=job_id, attempt=2).context, run_id)).status == "done"


async def test_what_was_deleted_or_changed_meanwhile_ends_the_task(podcasts: httpx2.AsyncClient) -> None:
    with pytest.raises(FatalError, match="it was deleted"):
        await make(Recorder().context, new_id())
    run_id, job_id = await created(podcasts), new_id()
    recorder = Recorder(job=job_id)
    recorder.stop_after(2, LeaseLost)
    with pytest.raises(LeaseLost):
        await make(recorder.context, run_id)
    for names in (("Cara", "Dan"), ("Anna", "Ben")):
        speakers = {"name": "two", "speakers": [{"name": name} for name in names]}
        assert (await podcasts.put(f"{API}/speaker-profiles/two", json=speakers)).status_code == 200
        if names[0] == "Cara":
            with pytest.raises(FatalError, match="changed after the script was written"):
                await make(Recorder(job=job_id, attempt=2).context, run_id)


async def test_wrong_wishes_are_refused(podcasts: httpx2.AsyncClient) -> None:
    chinese = {"id": "chinese", "title": "图书馆", "text": "图书馆九点开门。欢迎大家。"}
    assert (await podcasts.post(f"{API}/sources", json=chinese)).status_code == 201
    before = (await podcasts.get(f"{API}/runs")).json()
    for change, pointer, words in (
        ({"episode_profile": "none"}, "/episode_profile", "there is no episode profile 'none'; there are "),
        ({"speaker_profile": "none"}, "/speaker_profile", "there is no speaker profile 'none'; there are 'two'"),
        ({"source_ids": ["library", "none"]}, "/source_ids/1", "POST /api/podcast/sources adds one"),
        ({"source_ids": ["library", "library"]}, "/source_ids/1", "named twice"),
        ({"source_ids": ["chinese"]}, "/source_ids/0", "no Chinese"),
        ({"source_ids": []}, "/source_ids", "length"),
        ({"episode_name": "a\nb"}, "/episode_name", ""),
        ({"episode": "x"}, "/episode", ""),
    ):
        answer = await podcasts.post(f"{API}/generate", json={**WISH, **change})
        problem = answer.json()
        assert (answer.status_code, problem["errors"][0]["pointer"]) == (422, pointer), problem
        assert words in f"{problem['detail']} {problem['errors'][0]['detail']}", problem
    assert (await podcasts.get(f"{API}/runs")).json() == before


async def test_without_the_extra_it_is_refused(podcasts: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await created(podcasts)
    before = (await podcasts.get(f"{API}/runs")).json()
    monkeypatch.setattr("tasks.pack.find_spec", lambda module: None)
    for path, body in ((f"{API}/generate", WISH), (f"{API}/runs/{run_id}/start", None)):
        answer = await podcasts.post(path, json=body)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-configured")
        assert "install jobgate[podcast]" in answer.json()["detail"]
    assert (await podcasts.get(f"{API}/runs")).json() == before


async def test_runs_are_listed_and_deleted(podcasts: httpx2.AsyncClient) -> None:
    first, second, third = [await created(podcasts) for _ in range(3)]
    await podcasts.post(f"{API}/runs/{second}/cancel")
    listed = (await podcasts.get(f"{API}/runs?limit=3")).json()
    assert [each["run_id"] for each in listed] == [third, second, first]
    assert "script" not in listed[0]
    page = (await podcasts.get(f"{API}/runs?limit=1&before={third}")).json()
    assert [each["run_id"] for each in page] == [second]
    some = (await podcasts.get(f"{API}/runs?status=revoked,failure")).json()
    assert some[0]["run_id"] == second
    assert {each["status"] for each in some} <= {"revoked", "failure"}
    assert (await podcasts.get(f"{API}/runs?status=done")).status_code == 422
    place_of(second).mkdir(parents=True)
    assert (await podcasts.delete(f"{API}/runs/{second}")).status_code == 204
    assert not place_of(second).exists()
    assert (await podcasts.delete(f"{API}/runs/{second}")).status_code == 404
    assert (await podcasts.delete(f"{API}/runs/{first}")).status_code == 409


async def test_audio_that_was_taken_away_is_not_found(podcasts: httpx2.AsyncClient) -> None:
    mine = Hold(await created(podcasts), new_id(), 1)
    assert await run.claim(mine, 60)
    assert await run.succeed(mine, 1000, 1, 1)
    answer = await podcasts.get(f"{API}/runs/{mine.run_id}/audio.wav")
    assert (answer.status_code, "PODCAST_ROOT" in answer.json()["detail"]) == (404, True)
    assert (await podcasts.get(f"{API}/runs/{mine.run_id}/audio.ogg")).status_code == 404


async def test_episode_profiles(podcasts: httpx2.AsyncClient) -> None:
    long = {"name": "long talk", "description": "", "briefing": "Be kind.", "turns": 12}
    assert (await podcasts.post(f"{API}/episode-profiles", json=long)).json() == long
    assert (await podcasts.post(f"{API}/episode-profiles", json=long)).status_code == 409
    assert [each["name"] for each in (await podcasts.get(f"{API}/episode-profiles")).json()] == ["long talk", "short"]
    changed = await podcasts.put(f"{API}/episode-profiles/long%20talk", json={**long, "turns": 20})
    assert changed.json() == {**long, "turns": 20}
    assert (await podcasts.get(f"{API}/episode-profiles/long%20talk")).json() == changed.json()
    assert (await podcasts.put(f"{API}/episode-profiles/other", json=long)).status_code == 422
    assert (await podcasts.put(f"{API}/episode-profiles/x", json={**long, "name": "x"})).status_code == 404
    assert (await podcasts.delete(f"{API}/episode-profiles/long%20talk")).status_code == 204
    assert (await podcasts.get(f"{API}/episode-profiles/long%20talk")).status_code == 404
    assert (await podcasts.get(f"{API}/episode-profiles/a%00b")).status_code == 404


async def test_speaker_profiles(podcasts: httpx2.AsyncClient) -> None:
    first = (await podcasts.get(f"{API}/speaker-profiles/two")).json()
    assert [(each["name"], each["pitch"]) for each in first["speakers"]] == [("Anna", 1.0), ("Ben", 0.82)]
    other = {"name": "other", "speakers": [{"name": "Cara", "pace": 1.1}, {"name": "Dan", "pitch": 0.8}]}
    assert (await podcasts.post(f"{API}/speaker-profiles", json=other)).status_code == 201
    assert (await podcasts.post(f"{API}/speaker-profiles", json=other)).status_code == 409
    turned = {"name": "other", "speakers": other["speakers"][::-1]}
    assert (await podcasts.put(f"{API}/speaker-profiles/other", json=turned)).status_code == 200
    listed = (await podcasts.get(f"{API}/speaker-profiles")).json()
    assert [each["name"] for each in listed] == ["other", "two"]
    found = [(each["name"], each["pitch"], each["pace"]) for each in listed[0]["speakers"]]
    assert found == [("Dan", 0.8, 1.0), ("Cara", 0.82, 1.1)]
    same = {"name": "twins", "speakers": [{"name": "Eve"}, {"name": "eve"}]}
    refused = (await podcasts.post(f"{API}/speaker-profiles", json=same)).json()
    assert refused["errors"][0]["pointer"] == "/speakers/1/name"
    alone = {"name": "alone", "speakers": [{"name": "Eve"}]}
    assert (await podcasts.post(f"{API}/speaker-profiles", json=alone)).status_code == 422
    assert (await podcasts.delete(f"{API}/speaker-profiles/other")).status_code == 204


async def test_sources(podcasts: httpx2.AsyncClient) -> None:
    made = (await podcasts.post(f"{API}/sources", json={"title": "Market", "text": "It begins at seven."})).json()
    assert (await podcasts.get(f"{API}/sources/{made['id']}")).json() == made
    listed = {each["id"]: each for each in (await podcasts.get(f"{API}/sources")).json()}
    assert (listed[made["id"]]["characters"], listed["library"]["characters"]) == (19, len(LIBRARY))
    assert "text" not in listed["library"]
    assert made["id"] in [each["id"] for each in (await podcasts.get(f"{API}/sources?limit=1&before=chinese")).json()]
    taken = await podcasts.post(f"{API}/sources", json={"id": "library", "title": "x", "text": "y"})
    assert taken.status_code == 409
    renamed = await podcasts.put(f"{API}/sources/library", json={"id": "other", "title": "x", "text": "y"})
    assert renamed.status_code == 422
    assert (await podcasts.delete(f"{API}/sources/{made['id']}")).status_code == 204
    assert (await podcasts.put(f"{API}/sources/{made['id']}", json={"title": "x", "text": "y"})).status_code == 404


async def test_what_runs_were_made_of_stays(podcasts: httpx2.AsyncClient) -> None:
    await created(podcasts)
    for path in ("episode-profiles/short", "speaker-profiles/two", "sources/library"):
        refused = await podcasts.delete(f"{API}/{path}")
        assert (refused.status_code, "delete those first" in refused.json()["detail"]) == (409, True)


async def test_the_tables_hold_what_must_hold(podcasts: httpx2.AsyncClient) -> None:
    run_id = await created(podcasts)
    for wrong in ({"status": "DONE"}, {"status": "SUCCESS"}, {"finished_at": 1}, {"episode_profile": "none"}):
        with pytest.raises(IntegrityError):
            async with DATABASE.writing() as tables:
                await tables.execute(update(RUNS).where(RUNS.c.id == run_id).values(**wrong))
    assert (await run.read(run_id)).status == "PENDING"
