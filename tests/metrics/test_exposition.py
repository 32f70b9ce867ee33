"""A scrape: valid in both formats, the same from every replica, and an answer even without a store."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterable

import pytest
from msgspec import structs
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from executors.base import Standing
from metrics import exposition
from metrics.exposition import Exposition
from metrics.instruments import Build
from tasks.job import Mode
from tasks.store.store import JobStore
from tasks.store.tallies import SUPERSEDED, Tallies
from tasks.worker import Worker
from tests.metrics import rows
from tests.store.support import worker

BUILD = Build(version="1.2.3", executor="thread", database="sqlite")
# A backslash, a quote, a line's end, braces, what would be a format, a comment, and more than ASCII.
HOSTILE = 'a\\b"c\nd{e="f"} 1 # %s %d 100% \\n 任务 \u2028'

WORKER_STATES = ("up", "draining", "down", "not_consuming", "lost")

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def values(families: Iterable[Metric]) -> Values:
    found: Values = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def value(found: Values, name: str, **labels: str) -> float:
    return found[f"jobgate_{name}", tuple(sorted(labels.items()))]


async def scrape(eyes: Exposition) -> Values:
    return values(parse_text((await eyes.render()).decode()))


@pytest.fixture
def eyes(store: JobStore) -> Exposition:
    return Exposition(store, BUILD)


async def fill(engine: AsyncEngine) -> None:
    await rows.run(engine, "t", 3, runtime=0.2, wait=0.7)
    await rows.run(engine, "t", 2, runtime=700.0, status="FAILURE", code="task_error", type="ValueError")
    await rows.run(engine, HOSTILE, 1, queue=HOSTILE, status="FAILURE", code="task_error", type=HOSTILE)
    async with engine.begin() as connection:
        ids = await rows.insert(connection, [("t", "default")] * 4)
        await rows.claim(connection, ids[:1])
        await rows.revoke(connection, ids[1:2], "expired")


async def test_both_formats_say_the_same_and_are_valid(store: JobStore, eyes: Exposition) -> None:
    await fill(store.engine)
    plain = values(parse_text((await eyes.render()).decode()))
    page = (await eyes.render(openmetrics=True)).decode()
    strict = values(openmetrics_parser.text_string_to_metric_families(page))  # type: ignore[no-untyped-call]  # theirs
    moving = ("process_", "jobgate_collect_")
    assert {key for key in plain if not key[0].startswith(moving)} == {
        key for key in strict if not key[0].startswith(moving)
    }
    assert {
        key: number for key, number in plain.items() if not key[0].startswith((*moving, "jobgate_queue_oldest"))
    } == {key: number for key, number in strict.items() if not key[0].startswith((*moving, "jobgate_queue_oldest"))}


async def test_promtool_finds_nothing_to_say(store: JobStore, eyes: Exposition) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, of the Debian package prometheus, is not installed")
    await fill(store.engine)
    done = subprocess.run([promtool, "check", "metrics"], input=await eyes.render(), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_the_figures_are_those_of_the_rows(store: JobStore, eyes: Exposition) -> None:
    await fill(store.engine)
    found = await scrape(eyes)
    here = {"task": "t", "queue": "default"}
    assert value(found, "jobs_submitted_total", **here) == 9
    assert value(found, "jobs_succeeded_total", **here) == 3
    assert value(found, "jobs_failed_total", **here, exception="ValueError") == 2
    assert value(found, "jobs_failed_total", task=HOSTILE, queue=HOSTILE, exception=HOSTILE) == 1
    assert value(found, "jobs", queue="default", state="PENDING") == 2
    assert value(found, "jobs", queue="default", state="STARTED") == 1
    assert value(found, "queue_depth", queue="default") == 2
    assert value(found, "queue_oldest_job_age_seconds", queue="default") > 1000
    assert value(found, "queue_depth", queue=HOSTILE) == 0
    assert value(found, "build_info", version="1.2.3", executor="thread", database="sqlite") == 1
    assert value(found, "collect_errors_total") == 0


async def test_a_histogram_is_cumulative_and_adds_up(store: JobStore, eyes: Exposition) -> None:
    await fill(store.engine)
    found = await scrape(eyes)
    here = {"task": "t", "queue": "default"}
    buckets = [
        value(found, "job_runtime_seconds_bucket", **here, le=le) for le in ("0.1", "0.5", "600.0", "1800.0", "+Inf")
    ]
    assert buckets == [0, 3, 3, 5, 5]
    assert value(found, "job_runtime_seconds_count", **here) == 5
    assert value(found, "job_runtime_seconds_sum", **here) == pytest.approx(1400.6)
    # Three waited 0.7 s; two that failed and the one that runs did not wait.
    assert value(found, "job_wait_seconds_sum", **here) == pytest.approx(2.1)
    assert value(found, "job_wait_seconds_count", **here) == 6


async def test_a_bound_of_an_older_release_counts_where_it_belongs(store: JobStore, eyes: Exposition) -> None:
    async with store.engine.begin() as connection:
        await connection.execute(text("INSERT INTO tallies VALUES ('runtime', 't', 'q', '0.25', 4, 0.8, NULL)"))
    found = await scrape(eyes)
    assert value(found, "job_runtime_seconds_bucket", task="t", queue="q", le="0.1") == 0
    assert value(found, "job_runtime_seconds_bucket", task="t", queue="q", le="0.5") == 4


async def test_counters_go_on_and_are_not_rendered_stale(store: JobStore, eyes: Exposition) -> None:
    await rows.run(store.engine, "t", 3)
    await scrape(eyes)
    await rows.run(store.engine, "t", 4)
    await rows.run(store.engine, "u", 1)
    found = await scrape(eyes)
    assert value(found, "jobs_succeeded_total", task="t", queue="default") == 7
    assert value(found, "job_runtime_seconds_count", task="u", queue="default") == 1


async def test_replicas_show_the_same_counters(store: JobStore, eyes: Exposition) -> None:
    other = Exposition(store, BUILD)
    for n in range(3):
        await rows.run(store.engine, f"t{n}", 4)
        one, two = await scrape(eyes), await scrape(other)
        counted = [key for key in one if key[0].startswith(("jobgate_jobs_", "jobgate_job_"))]
        assert len(counted) > 10
        assert {key: one[key] for key in counted} == {key: two[key] for key in counted}


async def test_workers_are_counted_by_executor_and_state(store: JobStore, eyes: Exposition) -> None:
    worker = Worker(
        owner="a", name="celery@a", host="a", pid=1, mode="celery", pool="prefork", slots=4, busy=3,
        abandoned=2, queues=("default",), tasks=("t",), version="1", draining=False,
    )  # fmt: skip  # one worker
    await store.beat(worker)
    found = await scrape(eyes)
    assert value(found, "workers", executor="celery", state="up") == 1
    assert value(found, "workers", executor="thread", state="up") == 0
    assert value(found, "worker_slots", executor="celery") == 4
    assert value(found, "worker_slots_busy", executor="celery") == 3
    assert value(found, "worker_threads_abandoned", executor="celery") == 2
    await store.beat(structs.replace(worker, abandoned=5))
    assert [each.abandoned for each in await store.workers()] == [5]


async def test_workers_that_do_not_consume_are_no_consumers(store: JobStore, eyes: Exposition) -> None:
    mute, lost, idle, well = [
        structs.replace(worker(name, queues=queues), mode="celery", instance=name, **more)
        for name, queues, more in (
            ("mute", ("mail", "both"), {}),
            ("lost", ("files",), {}),
            ("idle", ("idle",), {"draining": True, "slots": 0}),
            ("well", ("both",), {}),
        )
    ]
    for each in (mute, lost, idle, well):
        await store.beat(each)
    await store.call_deaf("mute")
    async with store.engine.begin() as connection:
        await connection.execute(text("UPDATE workers SET seen_at = seen_at - 60000 WHERE owner = 'lost'"))
        await rows.insert(connection, [("t", queue) for queue in ("mail", "files", "idle", "both")])
    found = await scrape(eyes)
    states = {state: value(found, "workers", executor="celery", state=state) for state in WORKER_STATES}
    assert states == {"up": 1, "draining": 0, "down": 1, "not_consuming": 1, "lost": 1}
    consumers = {queue: value(found, "queue_consumers", queue=queue) for queue in ("mail", "files", "idle", "both")}
    assert consumers == {"mail": 0, "files": 0, "idle": 0, "both": 1}
    assert sorted(await store.unserved()) == ["files", "idle", "mail"]
    assert value(found, "worker_slots", executor="celery") == mute.slots + well.slots


async def test_the_carrier_in_use_and_refused_writes_are_shown(store: JobStore) -> None:
    class Carrier:
        standing = Standing(setting="auto", mode=Mode.THREAD, fallback="broker", fallbacks={"broker": 2, "deaf": 0})

    for _ in range(3):
        await store.run(SUPERSEDED)
    page = await scrape(Exposition(store, BUILD, carrier=Carrier()))
    assert value(page, "jobs_superseded_total") == 3
    assert [value(page, "carrier", executor=mode) for mode in ("thread", "celery")] == [1, 0]
    assert [value(page, "fallback", reason=reason) for reason in ("broker", "deaf")] == [1, 0]
    assert [value(page, "fallbacks_total", reason=reason) for reason in ("broker", "deaf")] == [2, 0]


async def test_scrapes_at_once_share_an_answer(
    store: JobStore, eyes: Exposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    due = Tallies.due

    async def counted(self: Tallies) -> dict[str, tuple[int, float]]:
        nonlocal asked
        asked += 1
        return await due(self)

    monkeypatch.setattr(Tallies, "due", counted)
    first, *others = await asyncio.gather(*(eyes.render() for _ in range(10)))
    assert others == [first] * 9
    first, *others = await asyncio.gather(*(eyes.render(compressed=True) for _ in range(10)))
    assert all(other is first for other in others)
    await eyes.render()
    assert asked == 1


async def test_a_scraper_that_hangs_up_takes_nothing_from_the_others(eyes: Exposition) -> None:
    gone, stays = asyncio.create_task(eyes.render()), asyncio.create_task(eyes.render())
    await asyncio.sleep(0)
    gone.cancel()
    assert b"jobgate_build_info" in await stays
    assert gone.cancelled()


async def test_without_a_store_the_process_still_answers(
    store: JobStore, eyes: Exposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.run(store.engine, "t", 1)
    await scrape(eyes)
    with monkeypatch.context() as broken:
        eyes._read_at = float("-inf")
        for name in ("_stretch", "_due"):
            broken.setattr(eyes._tallies, name, text("SELECT * FROM nowhere"))
        found = await scrape(eyes)
    assert value(found, "collect_errors_total") == 1
    assert value(found, "jobs_succeeded_total", task="t", queue="default") == 1
    assert not [key for key in found if key[0] in ("jobgate_queue_depth", "jobgate_workers")]
    found = await scrape(eyes)
    assert value(found, "queue_depth", queue="default") == 0


async def test_gauges_are_read_from_a_store_that_takes_no_writes(
    store: JobStore, eyes: Exposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store.engine.begin() as connection:
        await rows.insert(connection, [("t", "default")])
    monkeypatch.setattr(eyes._tallies, "_add", text("INSERT INTO nowhere VALUES (:rows)"))
    found = await scrape(eyes)
    assert value(found, "queue_depth", queue="default") == 1
    assert value(found, "store_up", op="read") == 1
    assert value(found, "collect_errors_total") == 1
    assert not [key for key in found if key[0] == "jobgate_jobs"], "counted from the events: it would be stale"


async def test_a_store_that_hangs_is_not_waited_for(eyes: Exposition, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(self: Tallies, *_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(exposition, "PATIENCE", 0.05)
    with monkeypatch.context() as broken:
        broken.setattr(Tallies, "_cursor", hangs)
        assert value(await scrape(eyes), "collect_errors_total") == 1
    monkeypatch.setattr(exposition, "PATIENCE", 5.0)
    assert value(await scrape(eyes), "workers", executor="thread", state="up") == 0


async def test_hostile_queues_do_not_make_series(
    store: JobStore, eyes: Exposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.instruments.MAX_QUEUES", 3)
    async with store.engine.begin() as connection:
        await rows.insert(connection, [("t", f"queue{n}") for n in range(10)])
    found = await scrape(eyes)
    depths = {key[1][0][1]: number for key, number in found.items() if key[0] == "jobgate_queue_depth"}
    assert depths == {**dict.fromkeys(list(depths)[:3], 1), "other": 7}
