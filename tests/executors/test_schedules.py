"""Schedules in real processes: in thread mode, under schedulers that are killed and stopped, and under celery beat."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.executors.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.ledger import Ledger
from tests.support.processes import Process
from tests.support.waiting import eventually

SCHEDULES = "/api/v1/schedules"
BEAT = ["-m", "celery", "-A", "executors.celery_worker", "beat", "--pidfile=", "--loglevel=WARNING",
        "--scheduler=executors.celery_beat:Scheduler"]  # fmt: skip  # a command


def make(deployment: Deployment, name: str, **fields: Any) -> dict[str, Any]:
    wanted = {"name": name, "task": "tests.add", "args": [1], "every": 1, **fields}
    body = {field: value for field, value in wanted.items() if value is not None}
    answer = deployment.post(SCHEDULES, body)
    assert answer.status_code == 201, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


def fires(url: str, schedule: dict[str, Any]) -> list[tuple[int, str, int]]:
    """Fire time, job and the process that decided, straight from the file."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        query = "SELECT fire_at, job_id, decided_by FROM fires WHERE schedule_id = ? ORDER BY fire_at"
        rows = connection.execute(query, (schedule["id"],)).fetchall()
    connection.close()
    return [(fire_at, job_id, int(owner.split("/")[2])) for fire_at, job_id, owner in rows]


def stop_between_writes(process: Process, url: str) -> None:
    """Stop it where it does not hold SQLite's one lock for writers: that would stop everybody, and rightly."""

    def stopped() -> bool:
        os.kill(process.pid, signal.SIGSTOP)
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=1, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            os.kill(process.pid, signal.SIGCONT)
            return False
        finally:
            connection.close()
        return True

    eventually(stopped)


def test_in_thread_mode_a_change_takes_effect_without_a_restart(
    deploy: Deploy, make_database: Callable[[str], str], ledger: Ledger
) -> None:
    deployment = deploy(make_database("sqlite"), slots=2)
    make(deployment, "noting", task="tests.note", args=[str(ledger), "tick"], cron="0 0 1 1 *", every=None)
    assert ledger.lines() == []
    changed = deployment.client.patch(f"{SCHEDULES}/noting", json={"every": 1})
    assert changed.status_code == 200, changed.text
    eventually(lambda: len(ledger.lines()) >= 2)
    assert deployment.post(f"{SCHEDULES}/noting/pause").json()["enabled"] is False
    told = deployment.client.get(f"{SCHEDULES}/noting").json()
    assert told["fired"] == len(deployment.client.get(f"{SCHEDULES}/noting/fires").json()["fires"]) >= 2


def test_killed_stopped_and_under_celery_beat(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str]
) -> None:
    url = make_database("sqlite")
    deployment = deploy(url, pool="solo", broker_url=make_broker("redis"), slots=1, workers=0)
    others: list[Process] = []

    def start(name: str, command: list[str], says: str) -> Process:
        process = deployment._process(name, command)
        others.append(process)
        process.wait_for(says)
        return process

    try:
        schedulers = [start(f"scheduler{n}", ["-m", "executors.scheduler"], "keeps celery mode") for n in range(2)]
        schedules = [make(deployment, f"s{n}") for n in range(3)]
        changing = make(deployment, "changing", cron="0 0 1 1 *", every=None)
        early = make(deployment, "changed early", cron="0 0 1 1 *", every=None)
        assert deployment.client.patch(f"{SCHEDULES}/changed%20early", json={"every": 1}).status_code == 200

        def more(count: int, of: dict[str, Any] = schedules[0]) -> None:
            already = len(fires(url, of))
            eventually(lambda: len(fires(url, of)) >= already + count, 30)

        more(2)
        more(2, early)
        stop_between_writes(schedulers[0], url)
        more(2)
        schedulers[1].kill()
        more(1)
        os.kill(schedulers[0].pid, signal.SIGCONT)
        more(1)
        beat = start("beat", BEAT, "fire under celery beat")
        schedulers[0].kill()
        assert deployment.client.patch(f"{SCHEDULES}/changing", json={"every": 1}).status_code == 200
        deployment.stop_gateway()
        more(2)
        eventually(lambda: [by for _, _, by in fires(url, changing)[-2:]] == [beat.pid] * 2, 30)
        assert beat.stop() == 0
    finally:
        for process in others:
            process.stop()
    everything = [fires(url, schedule) for schedule in schedules]
    for decided in everything:
        times = [fire_at for fire_at, _, _ in decided]
        assert times == list(range(times[0], times[-1] + 1, 1000)), "one was missed"
    made = [job_id for decided in [*everything, fires(url, changing), fires(url, early)] for _, job_id, _ in decided]
    assert sorted(made) == sorted(_jobs(url)), "a fire time without its one job"


def _jobs(url: str) -> list[str]:
    with sqlite3.connect(Path(url.removeprefix("sqlite:///"))) as connection:
        rows = connection.execute("SELECT id FROM jobs").fetchall()
    connection.close()
    return [row[0] for row in rows]
