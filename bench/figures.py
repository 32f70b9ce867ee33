"""The measurements of a running gateway, a round each."""

from __future__ import annotations

import json
import time

from bench.client import Load, Taken
from bench.place import Place, Spent, loaded
from bench.processes import Process, cpu_seconds
from bench.sheet import Sheet

NOOP = json.dumps({"task": "bench.tasks.noop"})
BATCH = 100
BATCH_OF_NOOPS = json.dumps({"jobs": [{"task": "bench.tasks.noop"}] * BATCH})
BATCH_PATH = "/api/v1/jobs:batch"
#: Seconds that a round's jobs may take to end.
PATIENCE = 120.0


def submit(sheet: Sheet, place: Place, limit: Process, seconds: float, drain: bool) -> None:
    """Single POSTs on 32 connections, just after the same on the bare endpoint; the jobs run meanwhile."""
    bare = _bare(sheet, limit, seconds)
    before, after = place.spent(), place.record.last_id()
    taken = loaded(Load(port=place.port, body=NOOP, seconds=seconds))
    if drain:
        place.record.await_end(after, taken.sent, PATIENCE)
    sheet.add("submit / bare Starlette", place.label, taken.rate / bare.rate)
    sheet.add("submit, requests/s", place.label, taken.rate, place.spent(before).per(taken.sent))
    sheet.add("submit p50, ms", place.label, taken.p50)
    sheet.add("submit p99, ms", place.label, taken.p99)


def batches(sheet: Sheet, place: Place, jobs: int) -> None:
    """Jobs in batches of 100 on 8 connections, until the last of them is settled."""
    before = place.spent()
    sheet.add("batches of 100 settled, jobs/s", place.label, run_batches(place, jobs), place.spent(before).per(jobs))


def accepted(sheet: Sheet, place: Place, jobs: int) -> None:
    """Jobs in batches of 100, accepted only: the workers go on with them meanwhile and afterwards."""
    before = place.spent()
    taken = _batches(place, jobs)
    sheet.add("batches of 100 accepted, jobs/s", place.label, taken.rate * BATCH, place.spent(before).per(jobs))


def end_to_end(sheet: Sheet, place: Place, jobs: int) -> float:
    """Jobs in batches of 100, accepted and all settled by Celery workers; jobs a second."""
    before = place.spent()
    rate = run_batches(place, jobs)
    sheet.add("end to end, jobs/s", place.label, rate, place.spent(before).per(jobs))
    return rate


def idle(sheet: Sheet, place: Place, seconds: float) -> None:
    """One POST at a time that waits for its job's end."""
    prefer = {"prefer": "wait=10"}
    before = place.spent()
    taken = loaded(Load(port=place.port, body=NOOP, headers=prefer, connections=1, seconds=seconds))
    sheet.add("idle p50, ms", place.label, taken.p50, place.spent(before).per(taken.sent))
    sheet.add("idle p99, ms", place.label, taken.p99)


def scrapes(sheet: Sheet, place: Place, queues: list[str]) -> None:
    """/metrics after a job of every task in every queue.

    The gateway counts new events once a second by itself, and a scrape counts what is left: so first one that finds
    all counted, then one with nothing new, then one that has everything to count.
    """
    names = [task["name"] for task in place.get("/api/v1/tasks")["tasks"] if task["name"].startswith("crowd.")]
    where = f"{len(names)} tasks x {len(queues)} queues · {place.label.rpartition(' ')[2]}"
    jobs = [{"task": name, "queue": queue} for name in names for queue in queues]
    _run_crowd(place, jobs)
    time.sleep(2.5)
    _scrape(sheet, place, "/metrics, all series new, ms", where)
    page = _scrape(sheet, place, "/metrics, nothing new, ms", where)
    _run_crowd(place, jobs)
    _scrape(sheet, place, "/metrics, 3,000 events to count, ms", where)
    sheet.add("/metrics, KiB", where, len(page) / 1024)


def run_batches(place: Place, jobs: int) -> float:
    """Jobs a second, from the first request until the last job is settled."""
    after = place.record.last_id()
    taken = _batches(place, jobs)
    return jobs / (place.record.await_end(after, jobs, PATIENCE) - taken.began)


def _run_crowd(place: Place, jobs: list[dict[str, str]]) -> None:
    after = place.record.last_id()
    place.post(BATCH_PATH, {"jobs": jobs})
    place.record.await_end(after, len(jobs), PATIENCE)


def _scrape(sheet: Sheet, place: Place, figure: str, where: str) -> bytes:
    before, started = place.spent(), time.perf_counter()
    page = place.call("GET", "/metrics")
    sheet.add(figure, where, (time.perf_counter() - started) * 1000, place.spent(before).per(1))
    return page


def _batches(place: Place, jobs: int) -> Taken:
    load = Load(port=place.port, path=BATCH_PATH, body=BATCH_OF_NOOPS, connections=8, requests=jobs // BATCH, warmup=0)
    return loaded(load)


def _bare(sheet: Sheet, limit: Process, seconds: float) -> Taken:
    before = cpu_seconds(limit.seen)
    taken = loaded(Load(port=limit.port, body=NOOP, seconds=seconds))
    spent = Spent(cpu_seconds(limit.seen) - before, 0).per(taken.sent)
    sheet.add("bare Starlette, requests/s", "limit", taken.rate, spent)
    sheet.add("bare Starlette p50, ms", "limit", taken.p50)
    sheet.add("bare Starlette p99, ms", "limit", taken.p99)
    return taken
