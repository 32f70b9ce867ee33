"""How a Celery worker shuts down while jobs wait for it."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from billiard import pool

from executors.carrier import Carrier
from executors.celery_child import prepare_child
from executors.settings import Settings
from executors.word import Role, Word
from tasks import task
from tasks.admission import Admission, Defaults
from tasks.job import Mode, State, Submission
from tasks.registry import Registry
from tasks.store import rings
from tasks.store.store import open_store
from tests.executors.conftest import Deploy
from tests.support.waiting import eventually


@task(name="shutdown.never")
def never() -> None:
    raise AssertionError("a process that shuts down begins no job")


REGISTRY = Registry([never])


def test_a_process_of_the_pool_does_not_wait_for_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIMIT", "INTERVAL"):
        full = f"GUARANTEE_MESSAGE_CONSUMPTION_RETRY_{name}"
        monkeypatch.setattr(pool, full, getattr(pool, full))
    slept: list[float] = []
    monkeypatch.setattr(pool, "time", SimpleNamespace(sleep=slept.append))
    process = SimpleNamespace(on_ready_counter=SimpleNamespace(value=0))
    prepare_child()
    pool.Worker._ensure_messages_consumed(process, completed=1)
    assert sum(slept) == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_process_that_shuts_down_hands_its_messages_back(
    make_database: Callable[[str], str], tmp_path: Path, kind: str
) -> None:
    url = make_database(kind)
    store = await open_store(url, Mode.CELERY)
    job = Admission(REGISTRY, Defaults()).admit(Submission(task="shutdown.never"))
    await store.accept(job)
    await store.run(rings.ring([["celery"]]), q0="celery", n0=1, n=1)
    assert await store.run(rings.RUNG)
    settings = Settings.from_env({"DATABASE_URL": url, "USE_CELERY": "1", "FILES_ROOT": str(tmp_path)})
    word = Word(["celery"])
    word.drain_at = math.inf
    role = Role("test@host", "", 1, "solo", word, lambda command: None, lambda deaf: None)
    carrier = await asyncio.to_thread(Carrier, settings, REGISTRY, role)
    try:
        assert await asyncio.to_thread(carrier.carry, job.id) is None
    finally:
        await asyncio.to_thread(carrier.stop)
    found = await store.get(job.id)
    assert found is not None
    assert (found.status, found.attempt) == (State.PENDING, 0)
    assert await store.run(rings.RUNG) == [], "the relay may dispatch it again"
    await store.stop()


@pytest.mark.parametrize(
    ("pool", "whom"), [("prefork", "worker"), ("prefork", "processes"), ("threads", "worker"), ("solo", "worker")]
)
def test_a_cold_shutdown_gives_jobs_back_unharmed(
    deploy: Deploy,
    make_database: Callable[[str], str],
    make_broker: Callable[[str], str],
    tmp_path: Path,
    pool: str,
    whom: str,
) -> None:
    """SIGQUIT of the worker, and SIGTERM of the processes of its pool."""
    slots = 1 if pool == "solo" else 2
    deployment = deploy(make_database("sqlite"), pool=pool, broker_url=make_broker("redis"), slots=slots)
    gate = tmp_path / "gate"
    jobs = [deployment.submit(name, str(gate)) for name in ("block", "report_async")[:slots]]
    for job in jobs:
        deployment.reaches(job, "STARTED")
    (worker,) = deployment.workers
    if whom == "worker":
        os.kill(worker.pid, signal.SIGQUIT)
        assert worker.ends(30)
        deployment.workers.remove(worker)
        worker.stop()
        deployment.start_worker()
    else:
        for child in worker.children():
            os.kill(child, signal.SIGTERM)
    eventually(lambda: all(deployment.read(job)["attempt"] > 1 for job in jobs), 30, "they run again")
    gate.touch()
    for job in jobs:
        done = deployment.ended(job, 40)
        assert (done["status"], done["attempt"], done["retries"]) == ("SUCCESS", 2, 0)
        assert deployment.statuses(job) == ["PENDING", "STARTED", "PENDING", "STARTED", "SUCCESS"]


def test_a_worker_that_an_error_ends_gives_back_what_runs(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], tmp_path: Path
) -> None:
    """Celery says nothing of such an end, and waits for its processes without a limit."""
    deployment = deploy(make_database("sqlite"), pool="prefork", broker_url=make_broker("redis"), slots=2)
    gate = tmp_path / "gate"
    job = deployment.submit("block", str(gate))
    deployment.reaches(job, "STARTED")
    (worker,) = deployment.workers
    deployment.submit("break_pipe")
    assert worker.ends(30)
    assert worker.code == 1
    deployment.workers.remove(worker)
    worker.stop()
    deployment.start_worker()
    eventually(lambda: deployment.read(job)["attempt"] > 1, 30, "it runs again")
    gate.touch()
    done = deployment.ended(job, 40)
    assert (done["status"], done["attempt"], done["retries"]) == ("SUCCESS", 2, 0)
