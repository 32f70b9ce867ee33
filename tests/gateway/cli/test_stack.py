"""`jobgate stack` with the real supervisord, in both modes, and the file for a server's own one."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis, ResponseError

from executors.identity import host
from gateway.cli import daemon, local_stack, output, own_redis
from gateway.cli import stack as stack_commands
from gateway.cli.log_file import Growing, tail
from tests.gateway.cli.conftest import Shell
from tests.gateway.cli.mapping import commands, of_a_stack
from tests.support.processes import ROOT, Process, clean_environment, free_port, python
from tests.support.waiting import eventually

#: Seconds; only a fault takes so long, or a machine that does much else.
PATIENCE = 200.0


class Stack:
    """The commands of one stack."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        own = {
            "PORT": str(free_port()),
            "DATABASE_URL": f"sqlite:///{folder / 'jobs.db'}",
            "FILES_ROOT": str(folder / "files"),
            "TASK_MODULES": "tests.support.tasks",
            "JOBGATE_THREADS": "2",
            "CELERY_POOL": "solo",
            "JOBGATE_DRAIN_TIMEOUT": "60",
        }
        self.shell = Shell({**own, **environment})

    def __call__(self, *words: str, exit: int = 0, input: str | None = None) -> str:
        done = self.shell("stack", *words, "--folder", str(self.folder), exit=exit, input=input)
        return done.output

    def states(self, exit: int = 0) -> dict[str, dict[str, Any]]:
        found = self.shell.json("stack", "status", "--folder", str(self.folder), exit=exit)
        return {each["name"]: each for each in found}

    def ready_again(self, times: int) -> None:
        """Until the gateway has said so often that it serves."""
        eventually(lambda: self("logs", "web", "99").count("Jobgate serves") == times, PATIENCE, "it serves again")

    def pid(self, name: str) -> int:
        return int(self.states()[name]["pid"])


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Not under pytest's: the path of a Unix socket must be short."""
    monkeypatch.setattr(stack_commands, "READY", PATIENCE)
    monkeypatch.setattr(daemon, "PATIENCE", PATIENCE)
    with tempfile.TemporaryDirectory(prefix="jobgate-stack-") as name:
        folder = Path(name)
        yield folder
        pid = folder / "supervisord.pid"
        if pid.exists():  # a test that failed left it behind: it ends its processes when it is asked
            left = psutil.Process(int(pid.read_text()))
            left.terminate()
            left.wait(PATIENCE)


def test_thread_mode_is_one_process_that_is_kept_alive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(folder, USE_CELERY="0")
    assert "does not run" in stack("status", exit=1)
    assert "does not run" in stack("stop")
    stack("start")
    first = stack.pid("web")
    assert stack.shell.json("submit", "tests.add", "1", "--wait")["result"] == 11
    stack("start")
    assert stack.pid("web") == first, "what runs is left alone"
    os.kill(first, signal.SIGKILL)
    stack.ready_again(2)
    assert stack.pid("web") != first
    monkeypatch.setattr(output, "asks", lambda: True)
    assert "Jobgate serves" in stack("logs", input="web\n")
    assert "has no 'beat'" in stack("restart", "beat", exit=3)
    stack("stop")
    assert "does not run" in stack("status", exit=1)
    monkeypatch.undo()
    assert "Jobgate serves" in stack("logs"), "logs outlive the processes"


def test_a_process_that_does_not_start_says_why(folder: Path) -> None:
    stack = Stack(folder, USE_CELERY="0", DATABASE_URL="mysql://localhost/x")
    assert "web does not start: jobgate: DATABASE_URL takes" in stack("start", exit=1)
    assert stack.states(exit=1)["web"]["state"] in {"EXITED", "FATAL", "STOPPED"}
    stack("stop")
    deep = folder / ("x" * 100)
    assert "too long for a Unix socket" in Shell({})("stack", "status", "--folder", str(deep), exit=2).stderr


def test_a_stack_whose_store_is_away_says_so_and_tries_no_longer(folder: Path) -> None:
    stack = Stack(folder, USE_CELERY="0", DATABASE_URL="postgresql://me@127.0.0.1:9/jobs")
    assert "web does not start: jobgate: the store" in stack("start", exit=1)
    assert stack.states(exit=1)["web"]["pid"] == 0
    for _ in ("that runs", "that does not"):
        assert stack.shell.json("stack", "stop", "--folder", str(folder)) == []


def test_celery_mode_and_every_command_of_the_systems_that_came_here(folder: Path) -> None:
    """In the page's order: the worker is stopped and started once, the scheduler restarted."""
    key = "jg_0c1d2e3f4a5b6c7d8e9fa0b1"
    # Celery mode is what a stack is for.
    stack = Stack(folder, JOBGATE_API_KEYS=f"ops:{key}:admin", JOBGATE_API_KEY=key)
    pids: dict[str, set[int]] = {}
    for _, verb, *component in filter(of_a_stack, commands()):
        if verb == "stop" and not component:
            assert stack.shell.json("submit", "tests.add", "1", "--wait", "--timeout", str(PATIENCE))["result"] == 11
        down = ["worker"] if [verb, *component] == ["stop", "worker"] else []
        stack(verb, *component)
        if [verb, *component] == ["stop"]:
            break
        found = stack.states(exit=1 if down else 0)
        for name, each in found.items():
            assert (each["state"] == "RUNNING") is (name not in down), (verb, component, found)
            pids.setdefault(name, set()).add(each["pid"])
            if each["pid"]:
                assert (key in psutil.Process(each["pid"]).environ().values()) is (name == "web"), name
    lives = {name: len(seen - {0}) for name, seen in pids.items()}
    assert lives == {"redis": 1, "web": 1, "worker": 2, "scheduler": 2}
    assert [pid for seen in pids.values() for pid in seen - {0} if psutil.pid_exists(pid)] == []
    log = (folder / "supervisord.log").read_text()
    assert "SIGKILL" not in log
    assert log.rindex("stopped: worker") < log.index("stopped: redis"), "the broker goes last"


@pytest.fixture
def redis_beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Process]]:
    """The stack's own Redis, alone, in the var/stack of a folder that is the working directory."""
    monkeypatch.chdir(folder)
    place = local_stack.FOLDER
    place.mkdir(parents=True)
    redis = Process("redis", [*stack_commands.NOTHING_INHERITED, *own_redis.command(place)], {}, folder)
    try:
        eventually(lambda: own_redis.answers(place), PATIENCE, "Redis answers")
        yield place, redis
    finally:
        redis.stop()


def test_the_stack_s_broker_serves_its_own_user_only_and_takes_no_settings(redis_beside: tuple[Path, Process]) -> None:
    place, redis = redis_beside
    assert psutil.Process(redis.pid).net_connections("tcp") == [], "no port: other users of the machine reach it not"
    assert stat.S_IMODE(own_redis.socket_in(place).stat().st_mode) == 0o700
    assert set(psutil.Process(redis.pid).environ()) <= {"PATH"}, "it inherits no secrets"
    client = Redis(unix_socket_path=str(own_redis.socket_in(place)))
    for words in (("CONFIG", "SET", "dir", "/"), ("MODULE", "LOAD", "x"), ("SAVE",), ("REPLICAOF", "127.0.0.1", "1")):
        with pytest.raises(ResponseError, match="unknown command"):
            client.execute_command(*words)
    client.close()


def test_commands_find_the_broker_of_a_stack_that_runs_here(redis_beside: tuple[Path, Process]) -> None:
    _, redis = redis_beside
    settings = {"DATABASE_URL": "sqlite:///jobs.db", "TASK_MODULES": "tests.support.tasks"}
    shell = Shell(settings)
    found = {each["variable"]: (each["value"], each["source"]) for each in shell.json("config")}
    assert found["USE_CELERY"] == ("yes", "stack")
    assert found["CELERY_BROKER_URL"][1] == "stack"
    looked = {each["what"]: each for each in shell.json("check")}
    assert looked["broker"]["ok"], looked
    codes = {each["code"] for each in shell.json("doctor", exit=1)["findings"]}
    assert not codes & {"broker_away", "brokers_differ"}
    named = Shell({**settings, "USE_CELERY": "1", "CELERY_BROKER_URL": "redis://127.0.0.1:9/0"})
    assert "redis://127.0.0.1:9/0" in named.out("check", exit=1), "what is set stays as it is"
    redis.stop()
    assert {each["variable"]: each["source"] for each in shell.json("config")}["USE_CELERY"] == "default"


def test_a_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("valkey-server", "6.0.16"), ("redis-server", "7.0.15")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=libc bits=64'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert own_redis.server() == tmp_path / "redis-server"
    (tmp_path / "redis-server").unlink()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin/none")
    assert own_redis.server().name == "valkey-server"
    assert own_redis.version_of(str(own_redis.server())) >= (9, 0), "the one that the extra `stack` brings"


def test_the_server_s_file_is_the_one_its_command_writes() -> None:
    assert (ROOT / "deploy/supervisor/jobgate.conf").read_text() == Shell({}).out("stack", "config") + "\n"


def test_the_server_s_file_runs(folder: Path, redis_url: str) -> None:
    """Its programs, in a supervisord of our own; the paths of a server are those of this checkout, the worker's options
    those of citation scanning."""
    (folder / "opt/.venv/bin").mkdir(parents=True)
    jobgate = folder / "opt/.venv/bin/jobgate"
    jobgate.write_text(f'#!/bin/sh\nexport PYTHONPATH="{ROOT}"\nexec {python()[0]} -m gateway.cli "$@"\n')
    jobgate.chmod(0o755)
    environment = {
        **Stack(folder).shell.environment,
        "USE_CELERY": "1",
        "CELERY_BROKER_URL": redis_url,
        "CELERY_POOL": "prefork",
    }
    shared = {name: value for name, value in environment.items() if name != "PORT"}
    for file, values in (("environment", shared), ("web.environment", {"PORT": environment["PORT"]})):
        (folder / file).write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    text = (ROOT / "deploy/supervisor/jobgate.conf").read_text()
    places = {
        "/opt/jobgate": folder / "opt",
        "/etc/jobgate": folder,
        "/var/lib/jobgate": ROOT,
        "/var/log/jobgate": folder,
    }
    for there, here in places.items():
        assert there in text
        text = text.replace(there, str(here))
    text = text.replace("jobgate worker'", "jobgate worker --concurrency=2 --queues=celery --hostname=worker@%%h'")
    main = f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={folder}/supervisord.pid\n"
    (folder / "main.conf").write_text(main + text.replace("user=jobgate\n", ""))
    command = python("-m", "supervisor.supervisord", "-c", str(folder / "main.conf"))
    supervisord = Process("supervisord", command, clean_environment(), folder)
    try:
        shell = Shell(environment)
        eventually(lambda: "Jobgate serves" in "".join(tail(folder / "web.log", 5)), PATIENCE, "the gateway serves")
        assert shell.json("submit", "tests.add", "1", "--wait", "--timeout", str(PATIENCE))["result"] == 11
        eventually(lambda: "Jobgate scheduler" in "".join(tail(folder / "scheduler.log", 5)), PATIENCE)
        workers = eventually(
            lambda: found if len(found := shell.json("workers")["workers"]) == 2 else [], PATIENCE, "two processes"
        )
        assert {(each["name"], *each["queues"]) for each in workers} == {(f"worker@{host()}", "celery")}
    finally:
        assert supervisord.stop(PATIENCE) == 0


def test_a_log_is_followed_over_its_turning(tmp_path: Path) -> None:
    file = tmp_path / "web.log"
    file.write_text("old\n")
    growing = Growing(file)
    with file.open("a") as log:
        log.write("one\ntw")
    assert growing.news() == ["one"]
    with file.open("a") as log:
        log.write("o\n")
    assert growing.news() == ["two"]
    file.rename(tmp_path / "web.log.1")
    assert growing.news() == []
    file.write_text("new\n")
    assert growing.news() == ["new"]
    assert tail(tmp_path / "web.log.1", 2) == ["one", "two"]
    assert tail(tmp_path / "none", 2) == []
