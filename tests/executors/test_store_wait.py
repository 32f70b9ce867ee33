"""Processes of a prefork pool that start while the database is away."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from executors.leaving import GRACE
from tests.executors.conftest import Deploy
from tests.support.processes import Process
from tests.support.servers import Postgres
from tests.support.waiting import eventually


def _replaced(worker: Process) -> int:
    """Kills the one process of the pool; the pid of the next one."""
    (old,) = worker.children()
    os.kill(old, signal.SIGKILL)
    return eventually(lambda: next((pid for pid in worker.children() if pid != old), 0), 20, "there is another process")


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server of its own; not below pytest's folder, which other runs of pytest close to the server's user."""
    with TemporaryDirectory(prefix="jobgate-") as folder:
        server = Postgres(Path(folder) / "postgres")
        yield server
        server.halt()


def test_a_process_waits_for_the_database_and_ends_in_time(
    deploy: Deploy, make_broker: Callable[[str], str], postgres: Postgres
) -> None:
    deployment = deploy(postgres.fresh(), pool="prefork", broker_url=make_broker("redis"), slots=1)
    (worker,) = deployment.workers
    postgres.halt()
    child = _replaced(worker)
    worker.wait_for(r"a process waits for the store, next try in 2 s")  # the third try
    assert worker.children() == [child], "no process was forked for each try"
    postgres.start()
    deployment.wait_for_slots()
    assert deployment.run("add", 1)["result"] == 11
    postgres.halt()
    _replaced(worker)
    eventually(lambda: worker.output.count("next try in 1 s") == 2, 20, "the process waits again")
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.ends(GRACE + 20)
    assert worker.code == 0, "it was not ended by force"
