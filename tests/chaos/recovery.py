"""`python -m tests.chaos.recovery`: how soon real processes go on after a fault; ROUNDS of each kill."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.load import quantile
from tests.support.deployment import TIMINGS, Deployment, Shape
from tests.support.ledger import Ledger
from tests.support.servers import Redis
from tests.support.waiting import eventually

LEASE = float(TIMINGS["JOBGATE_LEASE"])
DRAIN = float(TIMINGS["JOBGATE_DRAIN_TIMEOUT"])
#: Submissions whose times are compared: enough for a 99th percentile.
SUBMISSIONS = 300
#: Seconds that a measurement may take before it counts as failed.
PATIENCE = 60.0


class Measured:
    """A deployment, and what is timed on it. All answers are in seconds."""

    def __init__(self, folder: Path, redis: Redis, rounds: int) -> None:
        self._folder = folder
        self._redis = redis
        self._rounds = rounds

    @contextmanager
    def deployed(self, **shape: object) -> Iterator[Deployment]:
        folder = self._folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        url = f"sqlite:///{folder / 'jobs.db'}"
        deployment = Deployment(Shape(database_url=url, broker_url=f"{self._redis.url}/0", **shape), folder)  # type: ignore[arg-type]
        try:
            deployment.start()
            yield deployment
        finally:
            deployment.stop()

    def again(self, deployment: Deployment, kill: Callable[[int], None]) -> list[float]:
        """From the kill of whoever runs a job until it runs again."""
        found = []
        for _ in range(self._rounds):
            name = uuid.uuid4().hex[:8]
            ledger, gate = Ledger(deployment.folder / f"ledger-{name}"), deployment.folder / f"gate-{name}"
            job = deployment.submit("pids", str(ledger), str(gate))
            (pid,) = eventually(ledger.lines, PATIENCE)
            since = time.monotonic()
            kill(int(pid))
            _begun_twice(ledger)
            found.append(time.monotonic() - since)
            gate.touch()
            deployment.ended(job)
        return found

    def children(self) -> list[float]:
        with self.deployed(pool="prefork", slots=2) as deployment:
            return self.again(deployment, lambda pid: os.kill(pid, signal.SIGKILL))

    def workers(self) -> list[float]:
        with self.deployed(pool="prefork", slots=1, workers=2) as deployment:

            def kill(pid: int) -> None:
                victim = next(worker for worker in deployment.workers if pid in worker.children())
                os.killpg(victim.pid, signal.SIGKILL)
                victim.ends(10)
                deployment.workers.remove(victim)
                deployment.start_worker()

            return self.again(deployment, kill)

    def gateways(self) -> list[float]:
        """With the start of the next one, which is most of it."""
        with self.deployed(slots=2) as deployment:

            def kill(_: int) -> None:
                deployment.gateway.kill()
                deployment.stop_gateway()
                deployment.start_gateway()

            return self.again(deployment, kill)

    def submissions(self) -> dict[str, list[float]]:
        """Normal, with a broker that says nothing, with none."""
        with self.deployed(pool="prefork", slots=2) as deployment:
            found = {"normal": self._submit(deployment)}
            os.kill(self._redis.process.pid, signal.SIGSTOP)
            found["stalled"] = self._submit(deployment)
            os.kill(self._redis.process.pid, signal.SIGCONT)
            self._redis.process.kill()
            found["away"] = self._submit(deployment)
            self._redis.process.stop()
            self._redis.start()
            return found

    def _submit(self, deployment: Deployment) -> list[float]:
        found = []
        for _ in range(SUBMISSIONS):
            since = time.monotonic()
            deployment.submit("add", 1)
            found.append(time.monotonic() - since)
        return found

    def fallback(self) -> tuple[float, float]:
        """Broker killed until a job has run on threads; broker back until one has run on Celery."""
        with self.deployed(pool="prefork", slots=2, auto=True) as deployment:
            eventually(lambda: deployment.run("add", 1)["mode"] == "celery", PATIENCE)
            self._redis.process.kill()
            since = time.monotonic()
            eventually(lambda: deployment.run("add", 1)["mode"] == "thread", PATIENCE)
            lost = time.monotonic() - since
            self._redis.process.stop()
            self._redis.start()
            since = time.monotonic()
            eventually(lambda: deployment.run("add", 1)["mode"] == "celery", PATIENCE)
            return lost, time.monotonic() - since

    def drains(self) -> tuple[float, float]:
        """From SIGTERM to the end of a worker and of a gateway that run what does not end in time."""
        ends = []
        for pool in ("prefork", None):
            with self.deployed(pool=pool, slots=2) as deployment:
                job = deployment.submit("block", str(deployment.folder / "never"))
                deployment.reaches(job, "STARTED", PATIENCE)
                process = deployment.workers[0] if pool else deployment.gateway
                since = time.monotonic()
                os.kill(process.pid, signal.SIGTERM)
                assert process.ends(PATIENCE)
                ends.append(time.monotonic() - since)
        return ends[0], ends[1]


def _begun_twice(ledger: Ledger) -> None:
    eventually(lambda: len(ledger.lines()) > 1, PATIENCE)


def _say(what: str, seconds: float, bound: float) -> None:
    print(f"{what:58} {seconds:8.3f} s   wanted: {bound:g}   {'met' if seconds <= bound else 'NOT MET'}", flush=True)


def main() -> int:
    rounds = int(os.environ.get("ROUNDS", "10"))
    with tempfile.TemporaryDirectory(prefix="jobgate-recovery-") as name:
        redis = Redis(Path(name))
        measured = Measured(Path(name), redis, rounds)
        try:
            _say(f"child killed, runs again: worst of {rounds}", max(measured.children()), 1)
            _say(f"worker killed, runs again: worst of {rounds}", max(measured.workers()), LEASE + 1)
            _say(f"gateway killed, runs again with its start: worst of {rounds}", max(measured.gateways()), 3)
            times = {what: quantile(found, 0.99) for what, found in measured.submissions().items()}
            for what in ("stalled", "away"):
                _say(f"submit p99, broker {what}; normal {times['normal']:.4f}", times[what], 1.2 * times["normal"])
            lost, back = measured.fallback()
            _say("broker lost, a job has run on threads", lost, 3)
            _say("broker back, a job has run on Celery", back, 10)
            for what, seconds in zip(("worker", "gateway"), measured.drains(), strict=True):
                _say(f"SIGTERM to a {what} with a job that goes on", seconds, DRAIN + 2)
        finally:
            redis.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
