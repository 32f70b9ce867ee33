"""Commands that need no gateway: settings, schema, processes, completion."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from executors.identity import VERSION
from gateway.cli import output
from gateway.cli.main import app
from tasks.masking import shown_url
from tests.gateway.cli.conftest import Shell
from tests.support.processes import ROOT, clean_environment


def run(*words: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli", *words]
    environ = clean_environment(**environment)
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=200)


def test_settings_show_their_source_and_no_secret(tmp_path: Path) -> None:
    shell = Shell(
        {
            "DATABASE_URL": "postgresql://me:secret@db/jobs?password=secret",
            "CELERY_BROKER_URL": "redis://:secret@broker:6379/0",
            "JOBGATE_API_KEYS": "shop:secret,secret",
            "JOBGATE_API_KEY": "secret",
            "PORT": "8123",
        }
    )
    found = {each["variable"]: (each["value"], each["source"]) for each in shell.json("config")}
    assert found["DATABASE_URL"] == ("postgresql://me:***@db/jobs?***", "environment")
    assert found["CELERY_BROKER_URL"] == ("redis://:***@broker:6379/0", "environment")
    assert found["JOBGATE_API_KEYS"] == ("shop:***,***", "environment")
    assert found["JOBGATE_URL"] == ("http://127.0.0.1:8123", "default")
    assert found["LOG_LEVEL"] == ("INFO", "default")
    assert "secret" not in shell.out("config")
    wrong = Shell({"PORT": "eighty"})("config", exit=2)
    assert wrong.stderr.startswith("jobgate: PORT='eighty' is wrong")


def test_redis_url_stands_in_for_a_broker_that_is_not_named() -> None:
    for broker, value, source in (
        ("", "redis://a:1/0", "REDIS_URL"),
        ("redis://b:2/0", "redis://b:2/0", "environment"),
    ):
        shell = Shell({"REDIS_URL": "redis://a:1/0", "CELERY_BROKER_URL": broker})
        found = {each["variable"]: (each["value"], each["source"]) for each in shell.json("config")}
        assert found["CELERY_BROKER_URL"] == (value, source)


def test_an_address_that_is_none_is_a_usage_error() -> None:
    assert "--url takes a URL" in Shell({})("--url", "nowhere", "list", exit=2).stderr
    assert "JOBGATE_URL takes a URL" in Shell({"JOBGATE_URL": "nowhere"})("list", exit=2).stderr


@pytest.mark.parametrize(
    "url", ["", "jobs.db", "sqlite:///var/jobs.db", "redis://broker:6379/0", "amqp://guest@broker//"]
)
def test_a_url_without_a_secret_is_shown_as_it_is(url: str) -> None:
    assert shown_url(url) == url


def test_a_text_without_a_scheme_is_shown_without_its_password() -> None:
    assert shown_url("me:secret@db/jobs?password=secret") == "me:***@db/jobs?***"


def test_every_setting_is_explained_in_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/production.md").read_text() + (ROOT / "docs/operations.md").read_text()
    missing = [each["variable"] for each in Shell({}).json("config") if f"`{each['variable']}`" not in page]
    assert missing == []


def test_the_schema_is_checked_and_brought_up_to_date(tmp_path: Path) -> None:
    shell = Shell({"DATABASE_URL": f"sqlite:///{tmp_path / 'jobs.db'}"})
    assert "run `jobgate db upgrade`" in shell("db", "check", exit=1).stderr
    upgraded = shell.out("db", "upgrade")
    assert upgraded.startswith(f"sqlite:///{tmp_path / 'jobs.db'}: schema ")
    assert upgraded.endswith("upgraded from none")
    assert shell.out("db", "upgrade").endswith("nothing to do")
    assert "as this release needs" in shell.out("db", "check")
    away = Shell({"DATABASE_URL": "postgresql://me:secret@127.0.0.1:9/jobs"})("db", "check", exit=6)
    assert "cannot be reached" in away.stderr
    assert "secret" not in away.stderr


@pytest.mark.parametrize("words", ["db check", "doctor", "check", "config"])
@pytest.mark.parametrize("packs", ["", "backoffice"])
def test_a_command_that_only_looks_makes_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, packs: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner(env={"JOBGATE_PACKS": packs}).invoke(app, words.split())
    assert not isinstance(done.exception, OSError), done.output
    assert list(tmp_path.iterdir()) == []


def test_the_tables_of_packs_are_made_with_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shell = Shell({"JOBGATE_PACKS": "stats"})
    assert "and the tables stats_samples" in shell("db", "check", exit=1).stderr
    assert "with the tables stats_samples" in shell.out("db", "upgrade")
    assert {path.name for path in (tmp_path / "var").iterdir()} >= {"jobgate.db", "jobgate-packs.db"}


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["serve"], "gateway"),
        (["worker", "--loglevel=INFO", "-n", "w1@%h"], "executors.celery_worker"),
        (["scheduler"], "executors.scheduler"),
    ],
)
def test_a_process_is_replaced_by_the_one_it_starts(
    words: list[str], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, _environment: calls.append([program, *command]))
    Shell({})(*words)
    assert calls == [[sys.executable, sys.executable, "-m", module, *words[1:]]]


@pytest.mark.parametrize(
    ("words", "level", "without_effect"),
    [
        (["--loglevel=info"], "INFO", ""),
        (["-l", "critical", "--pidfile=beat.pid"], "ERROR", "--pidfile=beat.pid"),
        (["-s", "beat.db", "--max-interval", "5"], None, "-s beat.db --max-interval 5"),
    ],
)
def test_the_scheduler_takes_the_options_of_celery_beat(
    words: list[str], level: str | None, without_effect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], str | None]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, env: started.append((command[1:], env.get("LOG_LEVEL"))))
    told = Shell({})("scheduler", *words).stderr
    assert started == [(["-m", "executors.scheduler"], level)]
    assert told.startswith(f"jobgate: scheduler: {without_effect} has no effect" if without_effect else "")
    assert bool(told) == bool(without_effect)


def test_exit_codes_of_a_process_are_its_own() -> None:
    done = run("serve", HOST="::")
    assert (done.returncode, done.stdout) == (2, "")
    assert "set JOBGATE_API_KEYS" in done.stderr


def test_it_runs_from_any_folder_by_the_script_that_make_installs(tmp_path: Path) -> None:
    home, link = tmp_path / "checkout", tmp_path / "jobgate"
    (home / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/jobgate", home / ".venv/bin/jobgate")
    (home / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (home / ".venv/bin/python").chmod(0o755)
    for room in ("gateway", "executors", "metrics", "tasks"):
        (home / room).symlink_to(ROOT / room)
    link.symlink_to(home / ".venv/bin/jobgate")
    # A module of the user's that has the name of one of ours.
    (tmp_path / "tasks.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "shop.py").write_text("from tasks import task\n\n@task(name='shop.sell')\ndef sell() -> None: ...\n")
    for command in (link, home / ".venv/bin/jobgate"):
        found = subprocess.run(
            [command, "--version"], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
        )
        assert (found.returncode, found.stdout) == (0, f"jobgate {VERSION}\n"), found.stderr


def test_shells_are_told_how_to_complete() -> None:
    done = run(_JOBGATE_COMPLETE="complete_bash", COMP_WORDS="jobgate sub", COMP_CWORD="1")
    assert re.findall(r"^submit\b", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_nothing_that_a_task_writes_can_steer_a_terminal() -> None:
    assert output.shown("\x1b[2Jgone\r\x07") == "\ufffd[2Jgone\ufffd\ufffd"
