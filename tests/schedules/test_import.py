"""Schedules taken over from Celery: a beat_schedule, and the tables of django-celery-beat."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from celery.schedules import schedule as celery_schedule

from executors.celery_import import entries_of, take_over
from executors.django_import import Entry, read
from executors.schedules import Schedules
from tasks.errors import ConfigurationError
from tasks.schedule import read_spec
from tests.schedules.support import ADMISSION, MINUTE, Town
from tests.store.support import START
from tests.support.processes import ROOT, clean_environment

#: What an app's configuration may hold.
BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "nightly": {"task": "tests.tick", "schedule": crontab(minute="30", hour="2", day_of_week="mon-fri"), "args": (3,)},
    "numbers": {"task": "tests.tick", "schedule": crontab(minute=[0, 30], hour={2, 14}, month_of_year=6)},
    "often": {"task": "tests.tick", "schedule": 30.0, "kwargs": {"n": 1}, "options": {"queue": "q", "expires": 20}},
    "hourly": {"task": "tests.tick", "schedule": timedelta(hours=1), "options": {"expires": timedelta(minutes=5)}},
    "object": {"task": "tests.tick", "schedule": celery_schedule(90), "options": {"priority": 7, "routing_key": "q"}},
    "gone": {"task": "shop.gone", "schedule": 60},
    "too fast": {"task": "tests.tick", "schedule": 0.1},
    "by the sun": {"task": "tests.tick", "schedule": object()},
}
APP = Celery("shop", set_as_current=False)
APP.conf.update(
    beat_schedule={"nightly": {"task": "demo.add", "schedule": 60, "args": (1, 2)}}, timezone="Asia/Shanghai"
)


@pytest.fixture
def schedules(town: Town) -> Schedules:
    return Schedules(town.store, ADMISSION)


async def test_a_beat_schedule(town: Town, schedules: Schedules) -> None:
    told = dict(
        line.split(": ", 1) for line in await take_over(schedules, entries_of(BEAT_SCHEDULE, "Europe/Berlin"), START)
    )
    assert [name for name, words in told.items() if words == "taken over"] == list(BEAT_SCHEDULE)[:5]
    assert "no task 'shop.gone' is registered" in told["gone"]
    assert ">= 1" in told["too fast"]
    assert "no counterpart" in told["by the sun"]
    found = {row.name: read_spec(row.spec) for row in await schedules.list(100)}
    assert (found["nightly"].cron, found["nightly"].timezone) == ("30 2 * * mon-fri", "Europe/Berlin")
    assert found["nightly"].args == [3]
    assert found["numbers"].cron == "0,30 2,14 * 6 *"
    assert (found["often"].every, found["often"].kwargs, found["often"].queue, found["often"].expires) == (
        30.0, {"n": 1}, "q", 20.0
    )  # fmt: skip  # one row
    assert (found["hourly"].every, found["hourly"].expires) == (3600.0, 300.0)
    assert (found["object"].every, found["object"].priority, found["object"].queue) == (90.0, 7, "q")
    assert {row.origin for row in await schedules.list(100)} == {"import"}
    again = await take_over(schedules, entries_of(BEAT_SCHEDULE), START)
    assert sum("left alone" in line for line in again) == 5


DJANGO = """
CREATE TABLE django_celery_beat_crontabschedule (id INTEGER PRIMARY KEY, minute TEXT, hour TEXT, day_of_week TEXT,
    day_of_month TEXT, month_of_year TEXT, timezone TEXT);
CREATE TABLE django_celery_beat_intervalschedule (id INTEGER PRIMARY KEY, every INTEGER, period TEXT);
CREATE TABLE django_celery_beat_clockedschedule (id INTEGER PRIMARY KEY, clocked_time {moment});
CREATE TABLE django_celery_beat_periodictask (id INTEGER PRIMARY KEY, name TEXT, task TEXT, args TEXT, kwargs TEXT,
    queue TEXT, exchange TEXT, routing_key TEXT, priority INTEGER, expires {moment}, expire_seconds INTEGER,
    one_off {flag}, start_time {moment}, enabled {flag}, last_run_at {moment}, total_run_count INTEGER,
    date_changed {moment}, description TEXT, crontab_id INTEGER, interval_id INTEGER, solar_id INTEGER,
    clocked_id INTEGER);
INSERT INTO django_celery_beat_crontabschedule VALUES (1, '0', '2', '*', '1,15', '*/2', 'Asia/Shanghai');
INSERT INTO django_celery_beat_intervalschedule VALUES (1, 5, 'minutes');
INSERT INTO django_celery_beat_clockedschedule VALUES (1, '2035-01-01 08:00:00');
INSERT INTO django_celery_beat_periodictask (id, name, task, args, kwargs, queue, priority, expires, expire_seconds,
    one_off, start_time, enabled, crontab_id, interval_id, solar_id, clocked_id) VALUES
    (1, 'by crontab', 'tests.tick', '[7]', '{{}}', 'q', 3, '2040-01-01 00:00:00', 600, {no}, NULL, {yes}, 1, NULL,
     NULL, NULL),
    (2, 'by interval', 'tests.tick', '[]', '{{"n": 2}}', NULL, NULL, NULL, NULL, {no}, '2036-01-01 00:00:00', {no},
     NULL, 1, NULL, NULL),
    (3, 'by clock', 'tests.tick', '[]', '{{}}', NULL, NULL, NULL, NULL, {yes}, NULL, {yes}, NULL, NULL, NULL, 1),
    (4, 'by sun', 'tests.tick', '[]', '{{}}', NULL, NULL, NULL, NULL, {no}, NULL, {yes}, NULL, NULL, 1, NULL),
    (5, 'just once', 'tests.tick', '[]', '{{}}', NULL, NULL, NULL, NULL, {yes}, NULL, {yes}, NULL, 1, NULL, NULL),
    (6, 'not json', 'tests.tick', '(', '{{}}', NULL, NULL, NULL, NULL, {no}, NULL, {yes}, NULL, 1, NULL, NULL)
"""
DIALECTS = {
    "sqlite": {"moment": "TEXT", "flag": "INTEGER", "no": "0", "yes": "1"},
    "postgresql": {"moment": "TIMESTAMPTZ", "flag": "BOOLEAN", "no": "false", "yes": "true"},
}


async def test_the_tables_of_django_celery_beat(town: Town, schedules: Schedules, url: str) -> None:
    dialect = town.store.engine.dialect.name
    async with town.store.engine.begin() as connection:
        for statement in DJANGO.format(**DIALECTS[dialect]).split(";"):
            await connection.exec_driver_sql(statement)
    try:
        told = dict(line.split(": ", 1) for line in await take_over(schedules, await read(url), START))
    finally:
        for name in ("periodictask", "crontabschedule", "intervalschedule", "clockedschedule"):
            await town.bench.sql(f"DROP TABLE django_celery_beat_{name}")
    assert told["by crontab"] == told["by clock"] == told["just once"] == "taken over"
    assert told["by interval"] == "taken over, paused as it was"
    assert "solar" in told["by sun"]
    assert told["not json"].startswith("refused")
    rows = {row.name: row for row in await schedules.list(100)}
    found = {name: read_spec(row.spec) for name, row in rows.items()}
    crontab_spec = found["by crontab"]
    assert (crontab_spec.cron, crontab_spec.timezone, crontab_spec.args) == ("0 2 1,15 */2 *", "Asia/Shanghai", [7])
    assert (crontab_spec.queue, crontab_spec.priority, crontab_spec.expires) == ("q", 3, 600.0)
    assert crontab_spec.end == "2040-01-01T00:00:00.000Z"
    assert (found["by interval"].every, found["by interval"].start) == (300.0, "2036-01-01T00:00:00.000Z")
    assert not rows["by interval"].enabled
    assert found["by clock"].at == "2035-01-01T08:00:00.000Z"
    assert (found["just once"].every, rows["just once"].next_at) == (None, START + 5 * MINUTE)


async def test_a_database_without_them_is_told_in_words(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read there"):
        await read(url)


async def test_a_problem_is_a_line(schedules: Schedules) -> None:
    told = await take_over(schedules, [Entry(name="x", problem="no such thing")], START)
    assert told == ["x: refused: no such thing"]


def test_the_command(tmp_path: Path) -> None:
    environment = clean_environment(DATABASE_URL=f"sqlite:///{tmp_path / 'jobs.db'}", TASK_MODULES="tasks.packs.demo")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "executors.celery_import", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    done = run("beat", "tests.schedules.test_import:APP")
    assert (done.returncode, done.stdout.splitlines()) == (0, ["nightly: taken over", "1 of 1 taken over"]), done.stderr
    wrong = run("beat", "tests.schedules.nowhere:APP")
    assert (wrong.returncode, "No module named" in wrong.stderr) == (2, True)
