"""What is done about fire times: each once, in time or late, and what overlap, failures and changes do to them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from executors import ticker
from tasks import step
from tasks.job import NewJob, State
from tasks.schedule import Schedule, Spec
from tasks.store.schedule_store import ScheduleReader
from tests.schedules.support import MINUTE, Town
from tests.store.support import BROKEN, START


async def test_a_fire_time_becomes_a_job(town: Town) -> None:
    await town.add(kwargs={"n": 7}, priority=8, expires=30.0, tags=["mine"], max_retries=9)
    await town.look()
    assert await town.jobs() == []
    await town.pass_minutes()
    (job,) = await town.jobs()
    assert (job["task"], job["queue"], job["priority"]) == ("tests.tick", "q", 8)
    assert (json.loads(job["arguments"]), job["max_retries"]) == ([[], {"n": 7}], 9)
    assert json.loads(job["tags"]) == ["mine", "schedule:s"]
    assert (job["due_at"], job["expires_at"]) == (START + MINUTE, START + MINUTE + 30_000)
    row = await town.read()
    assert (row.fired, row.missed, row.last_at, row.last_job) == (1, 0, START + MINUTE, job["id"])
    assert row.next_at == START + 2 * MINUTE
    (past,) = await town.past()
    assert (past.outcome, past.cause, past.job_id, past.status) == ("fired", "time", job["id"], "PENDING")
    assert past.decided_by == "tower"


async def test_jobs_that_were_due_a_while_ago_are_caught_up_with(town: Town) -> None:
    await town.add(catch_up=180.0)
    await town.pass_minutes(10)
    row = await town.read()
    # Ten fire times: those of the last three minutes, the bound included, are late; the rest was missed.
    assert (row.fired, row.missed) == (4, 6)
    assert [job["due_at"] for job in await town.jobs()] == [START + n * MINUTE for n in (7, 8, 9, 10)]
    assert row.next_at == START + 11 * MINUTE


async def test_a_long_downtime_is_worked_off_in_parts(town: Town) -> None:
    await town.add(every=1.0, catch_up=10.0)
    await town.pass_minutes(30)
    row = await town.read()
    assert (row.fired, row.missed) == (11, 1789)


async def test_once_fires_once_and_is_over(town: Town) -> None:
    moment = datetime.fromtimestamp((START + MINUTE) / 1000, UTC).isoformat()
    await town.add(at=moment)
    await town.pass_minutes(1)
    await town.pass_minutes(10)
    assert len(await town.jobs()) == 1
    assert (await town.read()).next_at is None


async def test_jitter_delays_the_job_and_not_the_schedule(town: Town) -> None:
    await town.add(jitter=30.0)
    await town.pass_minutes(5)
    late = [job["due_at"] - START - n * MINUTE for n, job in enumerate(await town.jobs(), 1)]
    assert len(late) == 5
    assert all(0 <= each <= 30_000 for each in late)
    assert len(set(late)) > 1
    assert (await town.read()).next_at == START + 6 * MINUTE


async def test_a_paused_schedule_does_not_fire(town: Town) -> None:
    row = await town.add()
    assert await town.schedules.pause(row.id) is not None
    await town.pass_minutes(3)
    assert await town.jobs() == []
    paused = await town.read()
    assert (paused.enabled, paused.paused) == (False, "operator")
    await town.schedules.resume(paused, START + 4 * MINUTE)
    await town.pass_minutes(1)
    assert [job["due_at"] for job in await town.jobs()] == [START + 4 * MINUTE]


async def test_overlap_skip(town: Town) -> None:
    await town.add(overlap="skip")
    await town.pass_minutes()
    await town.pass_minutes()
    assert await town.outcomes() == ["fired", "skipped"]
    await _end(town, 0)
    await town.pass_minutes()
    assert await town.outcomes() == ["fired", "skipped", "fired"]
    assert (await town.read()).skipped == 1


async def test_overlap_queue_one(town: Town) -> None:
    await town.add(overlap="queue_one")
    for _ in range(3):
        await town.pass_minutes()
    assert await town.outcomes() == ["fired", "queued", "skipped"]
    assert len(await town.jobs()) == 1
    await _end(town, 0)
    await town.look()
    assert await town.outcomes() == ["fired", "fired", "skipped"]
    first, second = await town.jobs()
    assert (first["status"], second["status"]) == ("SUCCESS", "PENDING")
    assert second["due_at"] == START + 2 * MINUTE
    assert (await town.read()).fired == 2


async def test_overlap_cancel_running(town: Town) -> None:
    await town.add(overlap="cancel_running")
    await town.pass_minutes()
    attempt = await town.bench.claim((await town.jobs())[0]["id"])
    await town.pass_minutes()
    (job,) = await town.jobs()
    assert (job["status"], job["cancel_requested_at"] is not None) == ("STARTED", True)
    await town.pass_minutes()
    assert await town.outcomes() == ["fired", "skipped", "queued"], "the newest takes the place of the one that waited"
    await town.store.settle(step.stop(attempt, 1.0))
    await town.look()
    assert await town.outcomes() == ["fired", "skipped", "fired"]
    assert [job["status"] for job in await town.jobs()] == ["REVOKED", "PENDING"]


async def test_overlap_allow_all(town: Town) -> None:
    await town.add()
    for _ in range(3):
        await town.pass_minutes()
    assert await town.outcomes() == ["fired"] * 3


async def test_catching_up_keeps_to_the_overlap_policy(town: Town) -> None:
    for overlap in ("skip", "queue_one", "cancel_running"):
        await town.add(overlap, overlap=overlap)
    await town.pass_minutes(4)
    assert await town.outcomes("skip") == ["fired", "skipped", "skipped", "skipped"]
    assert await town.outcomes("queue_one") == ["fired", "queued", "skipped", "skipped"]
    assert await town.outcomes("cancel_running") == ["skipped", "skipped", "skipped", "fired"]


async def test_failures_in_a_row_pause_it(town: Town) -> None:
    await town.add(pause_after=2)
    await town.pass_minutes()
    await _end(town, 0, State.FAILURE)
    await town.pass_minutes()
    assert (await town.read()).failures == 1
    await _end(town, 1, State.SUCCESS)
    await town.pass_minutes()
    assert (await town.read()).failures == 0
    await _end(town, 2, State.FAILURE)
    await town.pass_minutes()
    await _end(town, 3, State.FAILURE)
    await town.pass_minutes()
    row = await town.read()
    assert (row.enabled, row.paused, row.failures) == (False, "failures", 2)
    assert len(await town.jobs()) == 4, "the look that saw the second failure came before it fired again"
    again = await town.schedules.resume(row, row.next_at)
    assert again is not None
    assert (again.enabled, again.failures) == (True, 0)
    await town.pass_minutes()
    assert (await town.read()).enabled, "what failed before the operator's word does not count any more"


async def test_arguments_that_fit_no_more_are_refused_in_words(town: Town) -> None:
    await town.add(kwargs={"m": 1}, pause_after=2)
    await town.pass_minutes()
    (past,) = await town.past()
    assert (past.outcome, past.job_id, past.status) == ("refused", None, "FAILURE")
    assert "unknown argument 'm'" in (past.reason or "")
    assert "unknown argument 'm'" in ((await town.read()).error or "")
    await town.pass_minutes()
    assert (await town.read()).paused == "failures", "and refusals count as failures"


async def test_one_that_cannot_be_read_holds_up_no_other(town: Town) -> None:
    await town.add("broken")
    await town.add("sound")
    await town.bench.sql('UPDATE schedules SET spec = \'{"name": "broken", "new": 1}\' WHERE name = \'broken\'')
    await town.pass_minutes()
    assert ((await town.read("broken")).fired, (await town.read("sound")).fired) == (0, 1)


async def _of_a_newer_release(town: Town, name: str) -> None:
    await town.bench.sql("UPDATE schedules SET spec = :spec WHERE name = :name", spec='{"new": 1}', name=name)


async def test_followed_jobs_of_one_that_cannot_be_read_hold_up_no_other(
    town: Town, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executors.ticker.CHUNK", 1)
    for name in ("broken", "sound"):
        await town.add(name, pause_after=1)
        await town.pass_minutes()
    await _of_a_newer_release(town, "broken")
    for n in range(len(await town.jobs())):
        await _end(town, n)
    await town.pass_minutes()
    assert [past.status for past in await town.past("sound")] == ["SUCCESS", "PENDING"]
    assert [past.status for past in await town.past("broken")] == ["SUCCESS", "SUCCESS"], "as its jobs' rows have it"
    assert len([each for each in caplog.messages if "broken cannot be read by this release" in each]) == 1


async def test_queued_fire_times_of_one_that_cannot_be_read_hold_up_no_other(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executors.ticker.CHUNK", 1)
    for name in ("broken", "sound"):
        await town.add(name, overlap="queue_one")
    await town.pass_minutes(1)
    await town.pass_minutes(1)
    await _of_a_newer_release(town, "broken")
    for n in range(len(await town.jobs())):
        await _end(town, n)
    await town.look()
    assert await town.outcomes("sound") == ["fired", "fired"]
    assert await town.outcomes("broken") == ["fired", "queued"]


async def test_queued_fire_times_of_busy_schedules_hide_no_other(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.ticker.CHUNK", 2)
    monkeypatch.setattr("executors.ticker.MANY", 2)
    names = [f"s{n}" for n in range(5)]
    for name in names:
        await town.add(name, overlap="queue_one")
    await town.pass_minutes()
    await town.pass_minutes()
    for name in reversed(names):  # the newest rows first: those behind all others
        job_id = (await town.past(name))[0].job_id
        await _end(town, [job["id"] for job in await town.jobs()].index(job_id))
        await town.look()
        assert await town.outcomes(name) == ["fired", "fired"]
    assert len(await town.jobs()) == 2 * len(names)


async def test_running_jobs_are_cancelled_however_many_other_fire_times_wait(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executors.ticker.CHUNK", 2)
    monkeypatch.setattr("executors.ticker.MANY", 2)
    overlaps = ["queue_one"] * 3 + ["cancel_running"] * 5 + ["queue_one"] * 3
    for n, overlap in enumerate(overlaps):
        await town.add(f"s{n}", overlap=overlap)
    await town.pass_minutes()
    for job in await town.jobs():
        await town.bench.claim(job["id"])
    await town.pass_minutes()
    for _ in overlaps:
        await town.look()
    asked = [job["cancel_requested_at"] is not None for job in await town.jobs() if job["status"] == "STARTED"]
    assert sum(asked) == overlaps.count("cancel_running") < len(asked)
    for n, overlap in enumerate(overlaps):
        job = await town.store.get((await town.past(f"s{n}"))[0].job_id or "")
        assert job is not None
        assert (job.cancel_requested_at is not None) == (overlap == "cancel_running")


async def test_a_queued_job_that_the_store_refuses_is_a_refused_fire_time(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.add(overlap="queue_one")
    await town.pass_minutes(1)
    await town.pass_minutes(1)
    await _end(town, 0)
    made = ticker.job_of
    monkeypatch.setattr("executors.ticker.job_of", lambda *args: structs.replace(made(*args), priority=99))
    await town.look()
    (_, past) = await town.past()
    assert (past.outcome, past.status, past.reason) == ("refused", "FAILURE", ticker.REFUSED)


async def test_jobs_of_a_concurrency_key_run_one_after_the_other(town: Town) -> None:
    await town.add(concurrency_key="k", overlap="queue_one")
    await town.pass_minutes(1)
    await town.pass_minutes(1)
    for n in range(2):
        assert [job["limit_name"] for job in await town.jobs()] == ["key:tests.tick:k"] * (n + 1)
        await _end(town, n)
        await town.bench.sql("DELETE FROM limits")  # as the sweep may have done: the next job declares it anew
        await town.look()
    assert [job["status"] for job in await town.jobs()] == ["SUCCESS", "SUCCESS"]


async def test_a_task_that_is_not_known_here_is_left_to_others(town: Town) -> None:
    await town.add(task="tests.elsewhere", catch_up=120.0)
    await town.pass_minutes()
    row = await town.read()
    assert (row.next_at, row.fired, row.missed) == (START + MINUTE, 0, 0)
    await town.pass_minutes(5)
    row = await town.read()
    assert (row.next_at, row.fired, row.missed) == (START + 4 * MINUTE, 0, 3), "what nobody fired in time is missed"


async def test_what_the_store_refuses_holds_up_no_other(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ticker.job_of

    def job_of(*args: Any) -> NewJob:
        job = made(*args)
        return structs.replace(job, priority=99) if '"schedule:odd"' in (job.tags or "") else job

    monkeypatch.setattr("executors.ticker.job_of", job_of)
    await town.add("odd")
    await town.add("sound")
    await town.pass_minutes()
    assert await town.outcomes("odd") == ["refused"]
    assert "the store refused the job" in ((await town.read("odd")).error or "")
    assert await town.outcomes("sound") == ["fired"]


async def test_schedules_of_others_do_not_hide_ours(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.ticker.CHUNK", 2)
    for n in range(3):
        await town.add(f"foreign {n}", task="tests.elsewhere")
    await town.add("ours", every=60.5)
    await town.pass_minutes(1.1)
    assert await town.outcomes("ours") == ["fired"]


async def test_a_job_that_is_no_longer_kept_has_ended(town: Town) -> None:
    await town.add(overlap="skip")
    await town.pass_minutes()
    await town.bench.sql("DELETE FROM jobs")
    await town.pass_minutes()
    assert [(past.outcome, past.status) for past in await town.past()] == [("fired", "GONE"), ("fired", "PENDING")]


async def test_a_change_between_look_and_write_wins(town: Town) -> None:
    row = await town.add()
    await town.bench.advance(MINUTE)
    found = await town.schedules.due(10)
    move, fires = town.ticker._decide(found[0])
    changed = await town.schedules.change(row, _slower(row), None, row.anchor, START + 10 * MINUTE)
    assert changed is not None
    assert await town.schedules.move([move], fires) == []
    assert await town.jobs() == []
    assert (await town.read()).next_at == START + 10 * MINUTE


async def test_two_looks_at_one_fire_time_make_one_job(town: Town) -> None:
    await town.add()
    await town.bench.advance(MINUTE)
    first, second = await town.schedules.due(10), await town.schedules.due(10)
    for found in (first, second):
        move, fires = town.ticker._decide(found[0])
        await town.schedules.move([move], fires)
    assert len(await town.jobs()) == 1
    assert (await town.read()).fired == 1


async def test_the_key_alone_would_keep_it_from_firing_twice(town: Town) -> None:
    await town.add()
    await town.pass_minutes()
    # As if the fence had a hole: the schedule is put back to where it was.
    await town.bench.sql("UPDATE schedules SET next_at = :was", was=START + MINUTE)
    await town.look()
    assert len(await town.jobs()) == 1
    assert (await town.read()).fired == 1


async def test_lateness_is_counted(town: Town) -> None:
    await town.add()
    await town.pass_minutes(1)
    await town.pass_minutes(1.5)
    assert await ScheduleReader(town.store).lateness() == {"0.05": (1, 0.0), "30.0": (1, 30.0)}


async def test_old_fire_times_go(town: Town) -> None:
    await town.add()
    await town.pass_minutes(3)
    await town.bench.advance(MINUTE)
    await town.schedules.forget(2 * MINUTE)
    assert len(await town.past()) == 3
    await town.schedules.forget(MINUTE // 2)
    assert await town.past() == []


@pytest.mark.parametrize("declared", [None, "{}"])
async def test_a_deleted_schedule_is_gone(town: Town, declared: str | None) -> None:
    row = await town.add()
    await town.bench.sql("UPDATE schedules SET declared = :declared", declared=declared)
    await town.pass_minutes()
    assert await town.schedules.delete(row.id) is not None
    assert await town.schedules.delete(row.id) is None
    assert await town.schedules.get("s") is None
    assert (await town.schedules.declared("s") is None) == (declared is None)
    await town.pass_minutes(3)
    assert len(await town.jobs()) == 1
    assert (await town.add()).id != row.id, "the name is free again"


async def _end(town: Town, n: int, state: State = State.SUCCESS) -> None:
    attempt = await town.bench.claim((await town.jobs())[n]["id"])
    how = step.succeed(attempt, "1", 0.1) if state is State.SUCCESS else step.fail(attempt, BROKEN, 0.1)
    await town.store.settle(how)


def _slower(row: Schedule) -> Spec:
    return Spec(name=row.name, task="tests.tick", every=600.0)
