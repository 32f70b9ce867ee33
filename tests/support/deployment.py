"""The product as it is deployed: a gateway and, for Celery, its workers, as processes of their own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
from msgspec import Struct

from tests.support.processes import Process, clean_environment, python
from tests.support.waiting import eventually

JOBS = "/api/v1/jobs"
FINAL = {"SUCCESS", "FAILURE", "REVOKED"}
TASKS = "tests.support.tasks"

#: Short, so that what takes seconds in production takes fractions of one here.
TIMINGS = {
    "JOBGATE_LEASE": "2",
    "JOBGATE_CANCEL_GRACE": "1",
    "JOBGATE_UNKNOWN_TASK_PATIENCE": "0.3",
    "JOBGATE_DRAIN_TIMEOUT": "5",
    "RESULT_EXPIRES": "15",
    "JOBGATE_ADOPT": "tests.note,tests.ad*,tests.never*",
    # `urgent` is served strictly before everything else.
    "JOBGATE_QUEUES": "urgent>normal,celery,other",
}


class Shape(Struct, frozen=True, kw_only=True):
    """What is to be started. `pool` is None in thread mode; `slots` are those of each worker.

    `auto`: with Celery while it can, see `executors.auto_executor`; the threads that stand in have `slots` too.
    """

    database_url: str
    pool: str | None = None
    broker_url: str = ""
    slots: int = 4
    workers: int = 1
    auto: bool = False
    environment: Mapping[str, str] = {}
    #: Modules with tasks that the gateway knows and the workers do not.
    gateway_modules: str = ""
    #: Further options of `celery worker`.
    worker_options: tuple[str, ...] = ()


class Deployment:
    """Starts with `start()`, ends with `stop()`; between them a client and verbs for tests."""

    client: httpx2.Client
    gateway: Process

    def __init__(self, shape: Shape, folder: Path) -> None:
        self.shape = shape
        self.folder = folder
        self.workers: list[Process] = []
        self._ended: list[Process] = []
        self._started = 0
        self._shown: dict[Path, int] = {}

    @property
    def celery(self) -> bool:
        return self.shape.pool is not None

    @property
    def mode(self) -> str:
        return "celery" if self.celery else "thread"

    @property
    def slots(self) -> int:
        """Those of all workers together."""
        return self.shape.slots * (self.shape.workers if self.celery else 1)

    @property
    def capabilities(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get("/api/v1/capabilities").json()
        return answer

    def environment(self, modules: str = TASKS) -> dict[str, str]:
        """What its processes are started with; a program with the same speaks to the same record."""
        shape = self.shape
        carrier = {"USE_CELERY": "0", "JOBGATE_THREADS": str(shape.slots)}
        if shape.pool is not None:
            carrier = {
                "USE_CELERY": "auto" if shape.auto else "1",
                "JOBGATE_THREADS": str(shape.slots),
                "CELERY_BROKER_URL": shape.broker_url,
                "CELERY_POOL": shape.pool,
                "CELERY_CONCURRENCY": str(shape.slots),
            }
        own = {"DATABASE_URL": shape.database_url, "TASK_MODULES": modules, "FILES_ROOT": str(self.folder / "files")}
        own["PODCAST_ROOT"] = str(self.folder / "podcasts")
        return clean_environment(**{**TIMINGS, **own, **carrier, **shape.environment})

    def start(self) -> None:
        self.start_gateway()
        for _ in range(self.shape.workers if self.celery else 0):
            self.start_worker()
        self.wait_for_slots()

    def start_gateway(self) -> None:
        modules = ",".join(filter(None, [TASKS, self.shape.gateway_modules]))
        self.gateway = self._process("gateway", ["-m", "gateway"], PORT="0", modules=modules)
        url = self.gateway.wait_for(r"Jobgate serves (http://\S+)")[1]
        self.client = httpx2.Client(base_url=url, timeout=70, trust_env=False)

    def start_worker(self) -> Process:
        # A name of its own: two workers of one name cannot be told apart at the broker.
        name = f"worker{self._started}"
        worker = self._process(
            name, ["-m", "executors.celery_worker", f"--hostname={name}@%h", *self.shape.worker_options]
        )
        self.workers.append(worker)
        return worker

    def wait_for_slots(self) -> None:
        """Until all workers are in the registry."""

        def look() -> bool:
            for process in [self.gateway, *self.workers]:
                assert process.code is None, f"{process.name} ended with {process.code}:\n{process.output[-4000:]}"
            workers = self.client.get("/api/v1/workers").json()["workers"]
            slots = sum(worker["slots"] for worker in workers if worker["mode"] == self.mode)
            # Its gateway looks a little later than we do, and may have let threads stand in meanwhile.
            ready = not self.shape.auto or self.client.get("/readyz").json()["status"] == "ready"
            return slots >= self.slots and ready

        eventually(look, 30, "all slots are there")

    def stop_gateway(self) -> int:
        if hasattr(self, "client"):
            self.client.close()
        self._ended.append(self.gateway)
        return self.gateway.stop()

    def stop(self) -> None:
        """Workers first: what they still do may need the record, not the gateway."""
        for worker in self.workers:
            worker.stop()
        if hasattr(self, "gateway"):
            self.stop_gateway()

    def logs(self) -> str:
        """What its processes wrote since this was asked last."""
        parts = []
        for log in sorted(self.folder.glob("*.log")):
            text = log.read_bytes()
            news, self._shown[log] = text[self._shown.get(log, 0) :], len(text)
            parts.append(f"--- {log.stem}\n{news.decode(errors='replace')[-6000:]}" if news else "")
        return "\n".join(filter(None, parts))

    # Verbs.

    def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        return self.client.post(path, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def submit(self, task: str, *args: Any, **options: Any) -> dict[str, Any]:
        """The accepted job. `options` are the other fields of a submission."""
        answer = self.post(JOBS, {"task": f"tests.{task}", "args": list(args), **options})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def batch(self, jobs: Sequence[Mapping[str, Any]]) -> list[str]:
        """The ids of the accepted jobs."""
        answer = self.post(f"{JOBS}:batch", {"jobs": [{**job, "task": f"tests.{job['task']}"} for job in jobs]})
        assert answer.status_code == 202, answer.text
        return [job["id"] for job in answer.json()["jobs"]]

    def read(self, job: Mapping[str, Any] | str) -> dict[str, Any]:
        return self.get(job, "")

    def get(self, job: Mapping[str, Any] | str, part: str) -> Any:
        """What stands under the job's address: "", "/result", "/attempts", "/logs"."""
        answer = self.client.get(f"{JOBS}/{_id(job)}{part}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, job: Mapping[str, Any] | str, within: float = 20.0) -> dict[str, Any]:
        """The job once it has ended."""
        found: dict[str, Any] = self.client.get(f"{JOBS}/{_id(job)}?wait={within}").json()
        assert found.get("status") in FINAL, f"not ended within {within:g} s: {found}"
        return found

    def run(self, task: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Submit a job and wait for its end."""
        return self.ended(self.submit(task, *args, **options))

    def reaches(self, job: Mapping[str, Any] | str, status: str, within: float = 15.0) -> dict[str, Any]:
        """The job once it is in that state."""
        return eventually(
            lambda: found if (found := self.read(job))["status"] == status else None,  # type: ignore[return-value]
            within,
            f"job {_id(job)} is {status}",
        )

    def verb(self, job: Mapping[str, Any] | str, verb: str) -> httpx2.Response:
        """Cancel, hold, release or retry it."""
        return self.post(f"{JOBS}/{_id(job)}/{verb}")

    def cancel(self, job: Mapping[str, Any] | str) -> str:
        """What the cancel did."""
        answer = self.verb(job, "cancel")
        assert answer.status_code == 200, answer.text
        action: str = answer.json()["action"]
        return action

    def all_ended(self, tag: str, count: int, within: float = 60.0) -> list[dict[str, Any]]:
        """All `count` jobs of a tag once they have ended, oldest first."""

        def open_left() -> bool:
            query = {"tag": tag, "status": "PENDING,STARTED,RETRY", "page_size": 1}
            return not self.client.get(JOBS, params=query).json()["jobs"]

        eventually(open_left, within, f"all jobs of {tag} have ended")
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            page = self.client.get(JOBS, params={"tag": tag, "page_size": 200, "page_token": token}).json()
            found += page["jobs"]
            token = page["next_page_token"]
            if not token:
                break
        assert len(found) == count
        return found[::-1]

    def events(self, job: Mapping[str, Any] | str) -> list[tuple[str, dict[str, Any]]]:
        """The whole story of an ended job: (event, data)."""
        text = self.client.get(f"{JOBS}/{_id(job)}/events").text
        blocks = (dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block)
        return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]

    def statuses(self, job: Mapping[str, Any] | str) -> list[str]:
        """The states that an ended job went through."""
        return [data["status"] for event, data in self.events(job) if event == "status"]

    @contextmanager
    def busy(self, slots: int | None = None) -> Iterator[Blockers]:
        """All slots, or so many of them, are held by jobs until they are let go."""
        blockers = Blockers(self, self.slots if slots is None else slots)
        try:
            yield blockers
        finally:
            blockers.release()

    def _process(self, name: str, arguments: Sequence[str], modules: str = TASKS, **values: str) -> Process:
        self._started += 1
        environment = {**self.environment(modules), **values}
        return Process(name, python(*arguments), environment, self.folder)


class Blockers:
    """Jobs that hold a slot each until they are let go, one by one or all."""

    def __init__(self, deployment: Deployment, count: int) -> None:
        self._deployment = deployment
        self._files = [deployment.folder / f"gate-{uuid.uuid4().hex}" for _ in range(count)]
        self._jobs = [deployment.submit("block", str(path), queue="urgent", priority=9) for path in self._files]
        for job in self._jobs:
            deployment.reaches(job, "STARTED")

    @property
    def ids(self) -> list[str]:
        return [job["id"] for job in self._jobs]

    def release(self, count: int | None = None) -> None:
        """Let go of so many, or of all, and wait until they have ended."""
        count = len(self._jobs) if count is None else count
        for path in self._files[:count]:
            path.touch()
        for job in self._jobs[:count]:
            self._deployment.ended(job)
        del self._files[:count], self._jobs[:count]


def moment(text: str) -> float:
    """An RFC 3339 moment in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def _id(job: Mapping[str, Any] | str) -> str:
    return job if isinstance(job, str) else job["id"]
