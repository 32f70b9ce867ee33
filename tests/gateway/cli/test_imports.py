"""Commands that only talk to a gateway start quickly: they import none of the libraries that processes need."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.processes import ROOT, clean_environment, python

#: Each takes from 20 to 300 ms to import.
HEAVY = {
    "aiosqlite",
    "alembic",
    "asyncio",
    "asyncpg",
    "celery",
    "kombu",
    "sqlalchemy",
    "starlette",
    "uvicorn",
    "uvloop",
}
COMMANDS = (
    "status ID", "submit demo.add 1 2", "wait ID", "result ID", "attempts ID", "why ID", "logs ID", "list", "cancel ID",
    "retry ID", "hold ID", "release ID", "tasks", "limits demo.add", "stats", "audit", "queues", "workers",
    "schedules", "--version", "--help",
)  # fmt: skip
KEPT = """
import sys
from gateway.cli.main import _keep_only, app
_keep_only(sys.argv[1:])
print(*(each.name for each in [*app.registered_commands, *app.registered_groups]))
"""
PROGRAM = """
import json, sys
from typer.testing import CliRunner
from gateway.cli.main import app
codes = {words: CliRunner().invoke(app, words.split()).exit_code for words in json.loads(sys.argv[1])}
print(json.dumps([codes, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_commands_for_a_gateway_import_nothing_heavy() -> None:
    environment = clean_environment(JOBGATE_URL="http://127.0.0.1:9", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        python("-c", PROGRAM, json.dumps(COMMANDS)), env=environment, capture_output=True, check=True, timeout=120
    )
    codes, modules = json.loads(done.stdout)
    asked = {words: code for words, code in codes.items() if not words.startswith("--")}
    assert asked == dict.fromkeys(asked, 6), "each asked the gateway, which is not there"
    assert HEAVY & set(modules) == set()


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("status ID --json", "status"),
        ("--url http://127.0.0.1:9 queues pause status", "queues"),
        ("--url=http://127.0.0.1:9 worker --require status", "worker"),
        ("--url status list", "list"),
        ("list_", None),
        ("--help", None),
        ("--version", None),
        ("", None),
        ("statsu", None),
    ],
)
def test_only_the_command_that_is_typed_is_made(words: str, kept: str | None) -> None:
    done = subprocess.run(
        python("-c", KEPT, *words.split()), env=clean_environment(PYTHONPATH=str(ROOT)), capture_output=True, check=True
    )
    names = done.stdout.decode().split()
    assert names == [kept] if kept else len(names) > 20


def test_a_mistyped_command_is_answered_with_those_there_are() -> None:
    environment = clean_environment(PYTHONPATH=str(ROOT), NO_COLOR="1")
    done = subprocess.run(python("-m", "gateway.cli", "statsu"), env=environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"'stats'" in done.stderr
