"""Commands that only talk to a gateway start quickly: they import none of the libraries that processes need."""

from __future__ import annotations

import json
import subprocess

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
