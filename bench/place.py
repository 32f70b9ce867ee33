"""A gateway to be measured, and all that it needs around it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil

from bench.client import Load, Taken
from bench.ground import Ground
from bench.processes import ROOT, START, Process, cpu_seconds, python
from bench.record import Record

MODULES = "bench.tasks"
#: Slots of a Celery worker: as many as the cores that the figures are meant for.
CONCURRENCY = "2"
#: Seconds that a load may take.
PATIENCE = 120.0


class Wanted(NamedTuple):
    """Which gateway: `pool` is the Celery worker's, "" in thread mode; `environ` are further settings."""

    store: str = "sqlite"
    pool: str = ""
    environ: Mapping[str, str] = {}
    #: Of threads, where there are to be others than by default.
    slots: int = 0

    @property
    def label(self) -> str:
        threads = f"thread, {self.slots} slots" if self.slots else "thread"
        return f"{'celery ' + self.pool if self.pool else threads} · {self.store}"


class Spent(NamedTuple):
    """Seconds of the processors: the gateway's own, and those of workers, broker and database."""

    gateway: float
    others: float

    def per(self, number: int) -> Spent:
        """Microseconds each."""
        return Spent(self.gateway * 1e6 / max(1, number), self.others * 1e6 / max(1, number))


NOTHING = Spent(0, 0)


class Place:
    """A running gateway."""

    def __init__(self, label: str, gateway: Process, others: Sequence[psutil.Process], record: Record) -> None:
        self.label = label
        self.port = gateway.port
        self.process = gateway.seen
        self.record = record
        self._others = others

    def spent(self, before: Spent = NOTHING) -> Spent:
        now = cpu_seconds(self.process), sum(map(cpu_seconds, self._others))
        return Spent(now[0] - before.gateway, now[1] - before.others)

    def get(self, path: str) -> Any:
        return json.loads(self.call("GET", path))

    def post(self, path: str, body: Any) -> Any:
        return json.loads(self.call("POST", path, json.dumps(body)))

    def call(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise SystemExit(f"bench: {method} {path} was answered {answer.status}: {content[:500].decode()}")
        return content

    def await_worker(self) -> None:
        ends = time.monotonic() + START
        while not self.get("/api/v1/workers")["workers"]:
            if time.monotonic() > ends:
                raise SystemExit("bench: the worker did not report to the registry")
            time.sleep(0.05)


@contextmanager
def place(ground: Ground, wanted: Wanted) -> Iterator[Place]:
    """The gateway `wanted`, with a store, broker and worker of its own."""
    url = ground.database(wanted.store)
    environ = {"DATABASE_URL": url, "TASK_MODULES": MODULES, "PORT": "0", **wanted.environ}
    if wanted.slots:
        environ["JOBGATE_THREADS"] = str(wanted.slots)
    others = ground.database_process(url)
    with ExitStack() as last:
        if wanted.pool:
            broker, redis = ground.redis(last)
            environ |= {"USE_CELERY": "1", "CELERY_BROKER_URL": f"{broker}/0"}
            environ |= {"CELERY_POOL": wanted.pool, "CELERY_CONCURRENCY": concurrency(wanted.pool)}
            others.append(redis.seen)
        gateway = python("gateway", "gateway", ground.folder, environ)
        last.callback(gateway.stop)
        _ = gateway.port  # once it can be reached, its SQLite file has its schema
        if wanted.pool:
            worker = python("worker", "executors.celery_worker", ground.folder, environ)
            last.callback(worker.stop)
            others.append(worker.seen)
        found = Place(wanted.label, gateway, others, last.enter_context(Record(url)))
        found.await_worker()
        yield found


@contextmanager
def limit(folder: Path) -> Iterator[Process]:
    """The bare endpoint."""
    process = python("limit", "bench.limit", folder)
    try:
        _ = process.port
        yield process
    finally:
        process.stop()


def concurrency(pool: str) -> str:
    return "1" if pool == "solo" else CONCURRENCY


def loaded(load: Load) -> Taken:
    """Put this load on, from a process of its own. Wrong answers end the run: their figures would mean nothing."""
    command = [sys.executable, "-m", "bench.client"]
    given = msgspec.json.encode(load)
    try:
        done = subprocess.run(command, input=given, cwd=ROOT, capture_output=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"bench: {load.path} left requests unanswered for {PATIENCE:g} s") from None
    if done.returncode != 0:
        raise SystemExit(f"bench: the load generator failed:\n{done.stderr.decode()[-2000:]}")
    taken = msgspec.json.decode(done.stdout, type=Taken)
    if taken.wrong or not taken.sent:
        raise SystemExit(f"bench: {taken.wrong} of {taken.sent} requests to {load.path} were not answered well")
    return taken
