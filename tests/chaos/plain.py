"""Plain Celery under the same faults: no gateway, no record; a result backend and late acknowledgement."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from celery.result import AsyncResult

from tests.chaos.faults import Nemesis, of_ground, of_processes
from tests.chaos.load import FINAL, Load, Unanswered, Wish, wishes
from tests.chaos.options import Options
from tests.chaos.record import Ledgered, Verdict, read_ledger
from tests.chaos.report import Outcome
from tests.chaos.run import QUIET, calm, pace
from tests.chaos.site import CHILDREN, WORKERS, Seat, Supervised
from tests.chaos.stage import Stage
from tests.support.ledger import Ledger
from tests.support.processes import Process, clean_environment, python


class PlainSite(Supervised):
    """Two workers."""

    def __init__(self, stage: Stage, folder: Path, environ: dict[str, str]) -> None:
        super().__init__(stage, folder)
        self._environ = environ
        self.workers = [Seat(f"worker{n}", self._worker) for n in range(WORKERS)]

    @property
    def seats(self) -> list[Seat]:
        return self.workers

    def wait(self) -> None:
        for seat in self.seats:
            seat.process.wait_for(r"\w+@\S+ ready", within=60)

    def _worker(self, name: str) -> Process:
        command = python("-m", "celery", "-A", "tests.chaos.plain_app", "worker", "--loglevel=INFO")
        return Process(name, [*command, "-c", str(CHILDREN), "-n", f"{name}@%h"], self._environ, self.folder)


class PlainClient:
    """Publishes with Celery's own defaults, and asks the result backend."""

    idempotent = False

    def __init__(self, ledger: str) -> None:
        from tests.chaos.plain_app import app, broken, work  # its URLs are in the environment by now

        self._app = app
        self._tasks = {"broken": broken}
        self._work = work
        self._ledger = ledger

    def submit(self, wish: Wish, patience: float) -> str:
        """Sent once: what an exception leaves open, Celery leaves to its caller."""
        task_id = str(uuid.uuid5(uuid.NAMESPACE_OID, wish.key))
        args: list[Any] = [self._ledger, wish.key]
        if wish.kind != "broken":
            args += [wish.seconds, int(wish.kind == "flaky")]
        try:
            task = self._tasks.get(wish.kind, self._work)
            task.apply_async(args, task_id=task_id, countdown=wish.delay or None)
        except Exception as error:  # whatever the client raises, nobody can say whether it was published
            raise PermissionError from error
        return task_id

    def cancel(self, job_id: str) -> str:
        try:
            self._app.control.revoke(job_id)
        except Exception as error:  # as above
            raise Unanswered from error
        return "asked"

    def status(self, job_id: str) -> str:
        try:
            return str(AsyncResult(job_id, app=self._app).status)
        except Exception as error:  # as above
            raise Unanswered from error


def run(options: Options) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jobgate-chaos-") as name:
        folder = Path(name)
        stage = Stage(folder, options.broker, "none")
        try:
            return _on(stage, folder, options, began)
        finally:
            stage.stop()


def _on(stage: Stage, folder: Path, options: Options, began: float) -> Outcome:
    ledger, chance = Ledger(folder / "ledger"), random.Random(options.seed)
    backend = stage.backend_url()
    environ = {"PLAIN_BROKER": stage.broker_url, "PLAIN_BACKEND": backend}
    os.environ.update(environ)
    site = PlainSite(stage, folder, clean_environment(**environ))
    load = Load(lambda: PlainClient(str(ledger)), wishes(options.jobs, chance), pace(options), options.seed, ledger)
    nemesis = Nemesis(
        site, [of_processes("plain"), of_ground(options.broker, "none")], options.faults, options.seed, load.progress
    )
    try:
        site.wait()
        calm(load, nemesis)
        quiet_after = _until_quiet(site, load, ledger, nemesis)
        load.stop()
        verdict = _verdict(load, read_ledger(ledger.lines()), PlainClient(str(ledger)), _waiting(stage))
    finally:
        site.stop()
    return Outcome(options, verdict, nemesis.done, time.monotonic() - began, quiet_after, nemesis.broken, [])


def _until_quiet(site: PlainSite, load: Load, ledger: Ledger, nemesis: Nemesis) -> float:
    """As for the product: until all accepted jobs have come to their end, or QUIET seconds after the last fault."""
    site.supervise()
    ends = max(nemesis.ended_at, time.time()) + QUIET
    while time.time() < ends and _undone(load, read_ledger(ledger.lines())["end"]):
        time.sleep(1.0)
    return time.time() - nemesis.ended_at


def _undone(load: Load, ends: Ledgered) -> set[str]:
    """Accepted jobs whose body never came to its end; broken ones have none, and cancelled ones need none."""
    done = {key for key, _ in ends.times}
    return {key for key in load.accepted if not key.startswith(("broken", "cancelled")) and key not in done}


def _waiting(stage: Stage) -> set[str]:
    """The ids that the broker still has: in a queue, or handed out and not acknowledged."""
    if stage.redis is None:
        return set()
    with redis.Redis(port=stage.redis.port) as client:
        kinds = {key: client.type(key) for key in client.keys("*")}
        bodies = [body for key, kind in kinds.items() if kind == b"list" for body in client.lrange(key, 0, -1)]
        unacked = [json.dumps(json.loads(body)[0]) for body in client.hvals("unacked")]
    return {json.loads(body)["headers"]["id"] for body in (*bodies, *unacked)}


def _verdict(load: Load, ledger: dict[str, Ledgered], client: PlainClient, waiting: set[str]) -> Verdict:
    starts, ends = ledger["start"], ledger["end"]
    undone = _undone(load, ends)
    stuck = {key for key in undone if load.accepted[key] in waiting}
    ended = Counter(key for key, _ in ends.times.elements())
    faults = {
        "lost": sorted(undone - stuck),
        "ended twice": [key for key, n in ended.items() if n > 1],
        "wrongly reported": [*load.changed, *_wrong(load, ended, client)],
        "stuck": sorted(stuck),
    }
    # An attempt that Celery counts once may have begun more often.
    again = {key for (key, _), n in starts.times.items() if n > 1}
    figures = {
        "accepted": len(load.accepted),
        "bodies begun": sum(starts.times.values()),
        "bodies done": sum(ends.times.values()),
        "jobs whose body ran more than once": len(again),
        "submissions refused by an exception": len(load.refused),
        "looks at a status": load.looks,
    }
    return Verdict(figures, faults)


def _wrong(load: Load, ended: Counter[str], client: PlainClient) -> list[str]:
    """Done, but not said to be; said to have failed, though nothing in the job does."""
    found = []
    for key, job_id in load.accepted.items():
        if key.startswith(("broken", "cancelled")):
            continue
        with suppress(Unanswered):
            status = client.status(job_id)
            if ended[key] and status != "SUCCESS":
                found.append(f"{key}: done, and said to be {status}")
            elif not ended[key] and status in FINAL:
                found.append(f"{key}: not done, and said to be {status}")
    return found
