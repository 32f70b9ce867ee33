"""`make ledger`: random operations on the credits pack from many slots, submitted more than once, while what runs them
is killed; then everything is added up. OPERATIONS, KILLS (seconds between two), SEED and MODE of the environment.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from tests.support.deployment import JOBS, Deployment, Shape
from tests.support.processes import python
from tests.support.servers import Postgres, redis_server

#: Jobs of one request, and how many may wait before the next one.
BATCH, BACKLOG = 50, 200
ACCOUNTS = [f"user-{number}" for number in range(12)]
_UNREACHED = (httpx2.TransportError, AssertionError)


class Operation(NamedTuple):
    """What is asked for; `key` is that of the transfer, and a tag of each of its jobs."""

    task: str
    account: str
    cents: int
    key: str
    seconds: int | None

    def job(self, run: str) -> dict[str, Any]:
        kwargs: dict[str, Any] = {"account": self.account, "cents": self.cents, "key": self.key, "reason": self.key}
        if self.task == "expire":
            kwargs = {"account": self.account}
        if self.seconds is not None:
            # One moment for all jobs of the key: it is a part of the wish.
            kwargs["expires_at"] = (datetime.now(UTC) + timedelta(seconds=self.seconds)).isoformat()
        return {"task": f"tasks.credits.{self.task}", "kwargs": kwargs, "tags": [run, self.key], "max_retries": 20}


class Verdict(NamedTuple):
    """`faults` must be empty. `unsettled`: transfers whose jobs all were lost with their workers."""

    operations: int
    jobs: int
    kills: Counter[str]
    outcomes: Counter[str]
    unsettled: int
    books: dict[str, Any]
    faults: list[str]


def operations(chance: random.Random, count: int) -> list[Operation]:
    kinds = chance.choices(["grant", "deduct", "expire"], [45, 50, 5], k=count)
    return [
        Operation(
            kind,
            chance.choice(ACCOUNTS),
            chance.randint(1, 500),
            f"op-{number}",
            chance.randint(1, 30) if kind == "grant" and chance.random() < 0.4 else None,
        )
        for number, kind in enumerate(kinds)
    ]


class Run:
    """One run against a deployment that was started."""

    def __init__(self, deployment: Deployment, seed: int, count: int, pause: float) -> None:
        self.deployment, self.pause = deployment, pause
        self.chance = random.Random(seed)
        self.operations = operations(self.chance, count)
        self.tag = f"ledger-{seed}"
        self.kills: Counter[str] = Counter()
        self._next_kill = time.monotonic() + pause

    def go(self) -> Verdict:
        jobs = [job for operation in self.operations for job in self._jobs(operation)]
        # Duplicates come close to each other, so that they meet.
        jobs = [jobs[at] for at in sorted(range(len(jobs)), key=lambda at: at + self.chance.randint(0, 20))]
        for start in range(0, len(jobs), BATCH):
            self._submit(jobs[start : start + BATCH])
            while self._waiting() > BACKLOG:
                self._disturb()
        while self._waiting():
            self._disturb()
        return self._judge(len(jobs))

    def _jobs(self, operation: Operation) -> list[dict[str, Any]]:
        return [operation.job(self.tag)] * self.chance.choices([1, 2, 3], [80, 15, 5])[0]

    def _submit(self, jobs: list[dict[str, Any]]) -> None:
        """Until it is accepted; what was accepted without a word is accepted twice, and must do no harm."""
        while True:
            with suppress(*_UNREACHED):
                answer = self.deployment.post(f"{JOBS}:batch", {"jobs": jobs})
                assert answer.status_code == 202, answer.text
                return
            self._disturb()

    def _waiting(self) -> int:
        jobs = self.deployment.client.get("/api/v1/stats").json()["jobs"]
        return int(sum(jobs.get(state, 0) for state in ("PENDING", "STARTED", "RETRY")))

    def _disturb(self) -> None:
        time.sleep(0.05)
        if time.monotonic() < self._next_kill:
            return
        self._next_kill = time.monotonic() + self.pause * self.chance.uniform(0.5, 1.5)
        if not self.deployment.celery:
            self._kill_gateway()
        elif self.chance.random() < 0.5:
            self._kill_worker()
        else:
            self._kill_child()

    def _kill_gateway(self) -> None:
        self.deployment.gateway.kill()
        self.deployment.start_gateway()
        self.kills["gateway"] += 1

    def _kill_worker(self) -> None:
        worker = self.chance.choice(self.deployment.workers)
        self.deployment.workers.remove(worker)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.ends(20)
        worker.stop()
        self.deployment.start_worker()
        self.kills["worker"] += 1

    def _kill_child(self) -> None:
        children = self.chance.choice(self.deployment.workers).children()
        if children:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(children), signal.SIGKILL)
            self.kills["child"] += 1

    def _judge(self, asked: int) -> Verdict:
        jobs, lines = self._all_jobs(), self._all_lines()
        books = self.deployment.client.get("/api/credits/audit").json()
        faults = list(books["faults"])
        faults += [f"{len(jobs)} jobs are there of {asked} that were accepted"] if len(jobs) < asked else []
        by_key: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for job in jobs:
            by_key[job["tags"][1]].append(job)
        made = {line["reason"]: line for line in lines if line["reason"]}
        counts = Counter(line["reason"] for line in lines if line["reason"])
        faults += [f"{key}: {times} transfers" for key, times in counts.items() if times > 1]
        unsettled = 0
        for operation in self.operations:
            if operation.task != "expire":
                found, lost = _judge_key(operation, by_key[operation.key], made.get(operation.key))
                faults += found
                unsettled += lost
        faults += self._misreckoned(lines)
        outcomes = Counter(_outcome(job) for job in jobs)
        return Verdict(len(self.operations), len(jobs), self.kills, outcomes, unsettled, books, faults)

    def _misreckoned(self, lines: list[dict[str, Any]]) -> list[str]:
        """The lines of each account, added up here, against what the ledger holds."""
        held = sum(line["cents"] for line in lines)
        books = self.deployment.client.get("/api/credits/audit").json()
        return [] if held == books["held"] else [f"the lines add up to {held}, the ledger holds {books['held']}"]

    def _all_jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"tag": self.tag, "page_size": 200, "page_token": token}
            page = self.deployment.client.get(JOBS, params=query).json()
            found += page["jobs"]
            token = page["next_page_token"]
            if not token:
                return found

    def _all_lines(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for account in ACCOUNTS:
            before: int | None = 2**53
            while before is not None:
                path = f"/api/credits/accounts/{account}/statement?limit=200&before={before}"
                page = self.deployment.client.get(path).json()
                found += page.get("lines", [])
                before = page.get("next_before")
        return found


def _outcome(job: dict[str, Any]) -> str:
    if job["status"] == "SUCCESS":
        return "made"
    said = (job["error"] or {}).get("message", "")
    return "refused" if "which is less than" in said else f"{job['status']} {(job['error'] or {}).get('code')}"


def _judge_key(operation: Operation, jobs: list[dict[str, Any]], line: dict[str, Any] | None) -> tuple[list[str], int]:
    """What is wrong between the jobs of a key and its line in the ledger, and whether its jobs know nothing of it."""
    outcomes = {_outcome(job) for job in jobs}
    faults = []
    if "made" in outcomes and line is None:
        faults.append(f"{operation.key}: a job says that it was made, the ledger knows nothing")
    if line is not None:
        cents = operation.cents if operation.task == "grant" else -operation.cents
        if line["cents"] != cents:
            faults.append(f"{operation.key}: {cents} cents were asked for, {line['cents']} moved")
        if "refused" in outcomes:
            faults.append(f"{operation.key}: a job says that it was refused, the ledger that it was made")
    if not jobs or outcomes - {"made", "refused"} - _LOST:
        faults.append(f"{operation.key}: its jobs ended as {sorted(outcomes)}")
    return faults, int(line is not None and "made" not in outcomes)


#: A job whose workers were killed four times is given up.
_LOST = {"FAILURE worker_lost"}


def shape(mode: str, database_url: str, broker_url: str) -> Shape:
    environment = {"JOBGATE_PACKS": "credits", "RESULT_EXPIRES": "86400"}
    if mode == "thread":
        return Shape(database_url=database_url, environment=environment)
    return Shape(database_url=database_url, broker_url=broker_url, pool="prefork", workers=2, environment=environment)


def prepared(shape: Shape, folder: Path) -> Deployment:
    """A deployment that runs."""
    deployment = Deployment(shape, folder)
    upgrade = python("-m", "gateway.cli", "db", "upgrade")
    subprocess.run(upgrade, check=True, env=deployment.environment(), capture_output=True)
    deployment.start()
    return deployment


def show(mode: str, verdict: Verdict, seconds: float) -> str:
    books = verdict.books
    kills = ", ".join(f"{count} of a {what}" for what, count in verdict.kills.items()) or "none"
    ends = ", ".join(f"{count} {what}" for what, count in verdict.outcomes.most_common())
    return "\n".join(
        [
            f"{mode}: {verdict.operations} operations as {verdict.jobs} jobs in {seconds:.0f} s; kills: {kills}",
            f"  ends: {ends}; made though all jobs of it were lost: {verdict.unsettled}",
            f"  issued {books['issued']} = spent {books['spent']} + expired {books['expired']} + held {books['held']}"
            f" cents, {books['transfers']} transfers",
            *(f"  WRONG: {fault}" for fault in verdict.faults[:20]),
            "  balances to the cent" if not verdict.faults else f"  {len(verdict.faults)} FAULTS",
        ]
    )


def main() -> int:
    count, seed = int(os.environ.get("OPERATIONS", "10000")), int(os.environ.get("SEED", "1"))
    pause, clean = float(os.environ.get("KILLS", "3")), True
    for mode in os.environ.get("MODE", "celery,thread").split(","):
        with tempfile.TemporaryDirectory(prefix="jobgate-") as name, redis_server(Path(name)) as broker:
            folder, server = Path(name), Postgres(Path(name) / "pg") if mode == "celery" else None
            url = server.fresh() if server else f"sqlite:///{folder / 'jobs.db'}"
            deployment = prepared(shape(mode, url, f"{broker}/0"), folder)
            try:
                start = time.monotonic()
                verdict = Run(deployment, seed, count, pause).go()
                print(show(mode, verdict, time.monotonic() - start), flush=True)
                clean = clean and not verdict.faults
            finally:
                deployment.stop()
                if server:
                    server.stop()
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
