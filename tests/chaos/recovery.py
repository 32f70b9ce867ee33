"""`python -m tests.chaos.recovery`: how soon real processes go on after a fault; ROUNDS of each kill."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.chaos import recovery_faults
from tests.chaos.load import quantile
from tests.chaos.recovery_deployment import PATIENCE, Deployments
from tests.support.deployment import TIMINGS, Deployment
from tests.support.ledger import Ledger
from tests.support.processes import Process
from tests.support.servers import Redis
from tests.support.waiting import eventually

LEASE = float(TIMINGS["JOBGATE_LEASE"])
DRAIN = float(TIMINGS["JOBGATE_DRAIN_TIMEOUT"])
#: Submissions whose times are compared: enough for a 99th percentile.
SUBMISSIONS = 300
#: A worker is pinged after five idle seconds, is not consuming five seconds later, has ten to connect again, is told to
#: drain, and is killed five seconds after that.
HANGS = 5 + 5 + 10 + DRAIN + 5 + 2


class Measured:
    """What is timed on deployments. All answers are in seconds."""

    def __init__(self, deployments: Deployments, rounds: int) -> None:
        self._redis = deployments.redis
        self._rounds = rounds
        self.deployed = deployments.make

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

    def workers(self, end: Callable[[Process], None]) -> list[float]:
        with self.deployed(pool="prefork", slots=1, workers=2) as deployment:

            def kill(pid: int) -> None:
                victim = next(worker for worker in deployment.workers if pid in worker.children())
                end(victim)
                assert victim.ends(PATIENCE)
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


def _kill_all(worker: Process) -> None:
    os.killpg(worker.pid, signal.SIGKILL)


def _end_cold(worker: Process) -> None:
    worker.signal(signal.SIGQUIT)


def _say_of_processes(measured: Measured, rounds: int) -> None:
    worst = f"worst of {rounds}"
    _say(f"child killed, runs again: {worst}", max(measured.children()), 1)
    _say(f"worker killed, runs again: {worst}", max(measured.workers(_kill_all)), LEASE + 1)
    _say(f"worker ended by SIGQUIT, runs again: {worst}", max(measured.workers(_end_cold)), LEASE + 1)
    _say(f"gateway killed, runs again with its start: {worst}", max(measured.gateways()), 3)
    for what, seconds in zip(("worker", "gateway"), measured.drains(), strict=True):
        _say(f"SIGTERM to a {what} with a job that goes on", seconds, DRAIN + 2)


def _say_of_broker(measured: Measured) -> None:
    times = {what: quantile(found, 0.99) for what, found in measured.submissions().items()}
    for what in ("stalled", "away"):
        _say(f"submit p99, broker {what}; normal {times['normal']:.4f}", times[what], 1.2 * times["normal"])
    lost, back = measured.fallback()
    _say("broker lost, a job has run on threads", lost, 3)
    _say("broker back, a job has run on Celery", back, 10)


def main() -> int:
    rounds = int(os.environ.get("ROUNDS", "10"))
    with tempfile.TemporaryDirectory(prefix="jobgate-recovery-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        server = Redis(folder)
        deployments = Deployments(folder, server)
        measured = Measured(deployments, rounds)
        try:
            _say_of_processes(measured, rounds)
            _say_of_broker(measured)
            _say("Redis takes writes again, a job has run", recovery_faults.no_writes(deployments), 10)
            _say("malformed messages before a job, it has run", recovery_faults.malformed(deployments), 3)
            _say("a worker's parent hangs, its processes end it", recovery_faults.hung_parent(deployments), HANGS)
            for what, seconds, bound in recovery_faults.on_postgres(deployments, folder / "postgres"):
                _say(what, seconds, bound)
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
