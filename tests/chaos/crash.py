"""kill -9 at the k-th statement of a job's way, for every k; after each the process is started again and asked.

`python -m tests.chaos.crash --store URL [--broker URL --victim gateway|worker] [--stride N]` prints a line for each
point and exits 1 if the record broke a rule; without a store it does so for every store and victim, on servers of its
own. It has everything loaded before it forks: so a start takes a fifth of a second.
"""

from __future__ import annotations

import argparse
import http.client
import importlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.fuse import Fuse, lay
from tests.support.ledger import Ledger
from tests.support.processes import clean_environment, python
from tests.support.servers import Postgres, free_port, redis_server
from tests.support.waiting import eventually

#: Enough for anything; the last point is found by passing it.
MOST = 200
JOBS = "/api/v1/jobs"
FINAL = ("SUCCESS", "FAILURE", "REVOKED")


class Options(NamedTuple):
    """`victim` is who dies; without a broker jobs run in threads and it is the gateway."""

    store: str
    broker: str
    victim: str
    stride: int


class Child:
    """A forked gateway or worker; `at` says at which point it dies."""

    def __init__(self, role: str, environ: Mapping[str, str], log: Path, at: int = 0) -> None:
        self.role = role
        self.log = log
        log.touch()
        self._start = log.stat().st_size
        self._told, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _be(role, environ, log, Fuse(at, told, armed=role == "worker") if at else None)
        os.close(told)
        self._gone = False
        self._where: str | None = None

    @property
    def gone(self) -> bool:
        self._gone = self._gone or os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return self._gone

    def wait_for(self, pattern: str) -> re.Match[str]:
        def look() -> re.Match[str] | None:
            assert not self.gone, f"{self.role} ended:\n{self.output}"
            return re.search(pattern, self.output)

        return eventually(look, 60, f"{pattern} from {self.role}")

    @property
    def output(self) -> str:
        return self.log.read_bytes()[self._start :].decode(errors="replace")

    def end(self) -> str:
        """Kill it if it still lives; where it had died by itself. Does nothing the second time."""
        if not self.gone:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._gone = True
        if self._where is None:
            with open(self._told, "rb") as told:
                self._where = told.read().decode()
        return self._where


def _be(role: str, environ: Mapping[str, str], log: Path, fuse: Fuse | None) -> None:
    """In the child: become the product's process, and never return."""
    code = 70
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(environ)
        if fuse is not None:
            lay(fuse, environ["DATABASE_URL"])
        if role == "gateway":
            code = importlib.import_module("gateway.__main__").main()
        else:
            importlib.import_module("executors.celery_worker").main([f"--hostname=crash{os.getpid()}@%h"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class Crash:
    """One way of a job, cut at every point."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._port = free_port()
        self._ledger = Ledger(folder / "ledger")
        carrier = {"USE_CELERY": "0", "JOBGATE_THREADS": "1"}
        if options.broker:
            carrier = {"USE_CELERY": "1", "CELERY_BROKER_URL": options.broker, "CELERY_POOL": "solo"}
        self._environ = clean_environment(
            DATABASE_URL=options.store,
            TASK_MODULES="tests.chaos.tasks",
            PORT=str(self._port),
            JOBGATE_LEASE="2",
            **carrier,
        )
        self._children: list[Child] = []
        self.found: list[tuple[str, float]] = []
        self.faults: list[str] = []

    def run(self) -> None:
        try:
            if self._options.broker:
                self._start("worker" if self._options.victim == "gateway" else "gateway")
            for at in range(1, MOST, self._options.stride):
                if not self._cut(at):
                    return
            self.faults.append(f"the way has more than {MOST} points")
        finally:
            for child in self._children:
                child.end()

    def _start(self, role: str, at: int = 0) -> Child:
        child = Child(role, self._environ, self._folder / f"{role}.log", at)
        self._children.append(child)
        child.wait_for("Jobgate (serves|worker)")
        return child

    def _cut(self, at: int) -> bool:
        """Whether there is such a point."""
        key = f"{self._options.victim}-{at}"
        victim = self._start(self._options.victim, at)
        heard = self._submit(key)
        eventually(
            lambda: victim.gone or (heard and self._read(heard).get("status") in FINAL), 60, f"{key} is cut or done"
        )
        where = victim.end()
        if not where:
            return False
        since = time.monotonic()
        again = self._start(self._options.victim)
        booted = time.monotonic()
        try:
            self._check(key, heard)
        except AssertionError as error:
            self.faults.append(f"{at}, {where}: {error}")
        self.found.append((where, time.monotonic() - booted))
        answered = "answered" if heard else "unanswered"
        after_kill, after_boot = time.monotonic() - since, self.found[-1][1]
        print(f"{at:4} {where:20} {answered:10} ended {after_kill:.2f} s after the kill, {after_boot:.2f} s after boot")
        again.end()
        return True

    def _submit(self, key: str) -> str:
        """The id that was answered, or "" where the door fell shut."""
        body = {"task": "chaos.told", "args": [str(self._ledger), key], "tags": [key]}
        with suppress(OSError, http.client.HTTPException):
            status, job = self._ask("POST", JOBS, body, key)
            assert status in (200, 202), job
            return str(job["id"])
        return ""

    def _read(self, job_id: str) -> Any:
        with suppress(OSError, http.client.HTTPException):
            return self._ask("GET", f"{JOBS}/{job_id}")[1]
        return {}

    def _ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text.startswith(b"{") else text.decode()
        finally:
            connection.close()

    def _check(self, key: str, heard: str) -> None:
        """What was answered stands; sent again it is the same job; it ends, and ends once."""
        again = self._submit(key)
        assert again, "the process that was started again does not answer"
        assert not heard or heard == again, "one key, two jobs"
        found = self._ask("GET", f"{JOBS}?tag={key}")[1]["jobs"]
        assert [job["id"] for job in found] == [again], f"{len(found)} jobs under one key"
        done = self._ask("GET", f"{JOBS}/{again}?wait=20")[1]
        assert (done["status"], done["result"]) == ("SUCCESS", [key, done["attempt"]]), done
        assert done["retries"] == 1, "the failure of its own was counted once"
        text = self._ask("GET", f"{JOBS}/{again}/events")[1]
        states = re.findall(r'^event: status\ndata: .*?"status": ?"(\w+)"', text, re.MULTILINE)
        assert sum(state in FINAL for state in states) == 1, states
        assert states.count("STARTED") == done["attempt"], states
        starts = Counter(line.split()[2] for line in self._ledger.lines() if line.startswith(f"start {key} "))
        assert set(starts.values()) == {1}, f"an attempt whose body began twice: {starts}"
        assert len(starts) <= done["attempt"]


def parse(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crash")
    parser.add_argument("--store", default="", help="the URL of an empty database (default: all kinds, one by one)")
    parser.add_argument("--broker", default="", help="the URL of an empty broker: jobs run on a Celery worker")
    parser.add_argument("--victim", default="gateway", choices=["gateway", "worker"])
    parser.add_argument("--stride", type=int, default=1, help="every so manieth point (default: all)")
    return Options(**vars(parser.parse_args(arguments)))


def cut(options: Options) -> int:
    for module in ("gateway.__main__", "executors.upkeep", "executors.thread_executor", "tests.chaos.tasks"):
        importlib.import_module(module)
    if options.broker:
        importlib.import_module("executors.celery_executor")
        importlib.import_module("executors.celery_app")
    if options.store.startswith("postgresql"):
        importlib.import_module("tasks.store.postgres")
    with tempfile.TemporaryDirectory(prefix="jobgate-crash-") as folder:
        crash = Crash(options, Path(folder))
        crash.run()
    slowest = max((seconds for _, seconds in crash.found), default=0.0)
    print(f"{len(crash.found)} points, {len(crash.faults)} faults; slowest end {slowest:.2f} s after boot")
    print("\n".join(crash.faults))
    return 1 if crash.faults or not crash.found else 0


def cut_all(stride: int) -> int:
    """Every store, threads and Celery, either process: each in a program of its own, which starts without threads."""
    with tempfile.TemporaryDirectory(prefix="jobgate-") as name, redis_server(Path(name)) as redis:
        postgres = Postgres(Path(name) / "pg")
        brokers = (f"{redis}/{n}" for n in itertools.count())
        worst = 0
        for kind in ("sqlite", "postgresql"):
            for victim, broker in (("gateway", ""), ("gateway", next(brokers)), ("worker", next(brokers))):
                url = f"sqlite:///{name}/{uuid.uuid4().hex}.db" if kind == "sqlite" else postgres.fresh()
                print(f"\n{kind}, {'Celery' if broker else 'threads'}, {victim}", flush=True)
                given = ["--store", url, "--broker", broker, "--victim", victim, "--stride", str(stride)]
                done = subprocess.run(python("-m", "tests.chaos.crash", *given), check=False)
                worst = max(worst, done.returncode)
        postgres.stop()
    return worst


def main() -> int:
    options = parse()
    return cut(options) if options.store else cut_all(options.stride)


if __name__ == "__main__":
    sys.exit(main())
