"""What a worker's connection to the broker does when an answer never comes, or is an error."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from kombu import Connection

from executors import celery_app
from executors.celery_app import make_celery
from executors.settings import Settings
from tests.chaos.proxy import Proxy
from tests.executors.conftest import Deploy
from tests.support.processes import ROOT, Process, clean_environment, python
from tests.support.waiting import eventually


def test_a_request_that_rabbitmq_does_not_answer_ends_as_a_lost_connection(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's main loop sits in such a request after a reset that came at a bad moment."""
    monkeypatch.setattr(celery_app, "_AMQP", dict.fromkeys(celery_app._AMQP, 1.0))
    port = urlsplit(rabbitmq_url).port or 5672
    wire = Proxy(port)
    url = rabbitmq_url.replace(f":{port}", f":{wire.port}")
    connection = make_celery(Settings(broker_url=url), ["q"]).connection_for_read()
    try:
        channel: Any = connection.channel()
        channel.queue_declare("timeouts", auto_delete=True)
        wire.mode = "hole"
        with ThreadPoolExecutor(1) as thread:
            waits = thread.submit(channel.basic_consume, "timeouts")
            try:
                error = waits.exception(timeout=20)
            finally:
                wire.reset()
        assert isinstance(error, connection.connection_errors)
    finally:
        wire.mode = "pass"
        connection.collect()
        wire.stop()


def test_errors_of_redis_and_elements_that_are_no_messages_end_no_worker(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str]
) -> None:
    url = make_broker("redis")
    deployment = deploy(make_database("sqlite"), pool="prefork", broker_url=url, slots=1)
    (worker,) = deployment.workers
    with redis.Redis.from_url(url) as client:
        for element in (b"not JSON", b"[]", b"17", b"{}", b"\xff\xfe"):
            client.rpush("celery", element)
            worker.wait_for("an element of a queue is no message and was dropped")
        eventually(lambda: client.exists("celery") == 0, what="all elements were taken")
        client.set("celery", "a string where a list should be")
        worker.wait_for("WRONGTYPE")
        client.delete("celery")
    assert deployment.run("add", 1)["status"] == "SUCCESS"
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.ends(30)
    assert worker.code == 0


@pytest.mark.parametrize("command", ["report", "inspect ping --timeout=0.2"])
def test_celerys_commands_make_no_database(tmp_path: Path, redis_url: str, command: str) -> None:
    environment = clean_environment(CELERY_BROKER_URL=redis_url, PYTHONPATH=str(ROOT))
    done = subprocess.run(
        python("-m", "celery", "-A", "executors.celery_worker", *command.split()),
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip  # one call
    answered = "kombu" in done.stdout if command == "report" else "No nodes replied" in done.stderr
    assert answered, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_worker_warns_of_a_queue_without_tasks_and_of_having_none(tmp_path: Path, redis_url: str) -> None:
    environment = clean_environment(
        DATABASE_URL=f"sqlite:///{tmp_path / 'jobs.db'}", CELERY_BROKER_URL=redis_url, CELERY_POOL="solo",
        JOBGATE_QUEUES="citations,other", TASK_MODULES="tests.support.waiting",
    )  # fmt: skip  # settings
    options = ("--queues=citation,other", "--loglevel=warning")
    worker = Process("worker", python("-m", "executors.celery_worker", *options), environment, tmp_path)
    try:
        worker.wait_for("Jobgate worker .* 0 tasks, queues other")
        assert "tasks: none is registered, so every job is refused: tests.support.waiting define none" in worker.output
        unknown = "listens to queue citation, which is no task's and not in JOBGATE_QUEUES: no job comes there"
        assert f"{unknown}; did you mean citations?" in worker.output
        assert "listens to queue other" not in worker.output
    finally:
        worker.stop()


#: What another program may write into the head of a message, and into its body.
HEADS: list[dict[str, Any]] = [
    {},
    {"task": "tests.add"},
    {"task": []},
    {"task": {}, "id": "x"},
    {"task": "tests.add", "id": ["x"]},
    {"task": "tests.add", "id": "x", "timelimit": "no pair"},
    {"task": "tests.add", "id": "x", "eta": "no time"},
    {"task": "tests.add", "id": "x", "expires": {}},
]
BODIES = [b"{", b"5", b"[]", b"{}", b"[[], {}]", b"[[], {}, {}]", b"\xff"]


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_messages_that_celery_cannot_read_end_no_worker_and_take_no_slot(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str], broker: str
) -> None:
    url = make_broker(broker)
    deployment = deploy(make_database("sqlite"), pool="prefork", broker_url=url, slots=1)
    (worker,) = deployment.workers
    with Connection(url) as connection:
        producer = connection.Producer(routing_key="celery")
        for head in HEADS:
            for body in BODIES:
                producer.publish(body, headers=head, content_type="application/json", content_encoding="utf-8")
    assert deployment.run("add", 1)["status"] == "SUCCESS"
    assert worker.code is None
    assert "Unrecoverable error" not in worker.output


#: A worker that Celery ends because of an error, as it does with one that a library under it raises in its main loop.
BROKEN = """
from celery import bootsteps
from executors import celery_worker

class Broken(bootsteps.StartStopStep):
    def start(self, parent):
        raise RuntimeError("broken")

celery_worker.app.steps["worker"].add(Broken)
celery_worker.main([])
"""


def test_a_worker_exits_with_the_code_of_what_ended_it(
    make_database: Callable[[str], str], make_broker: Callable[[str], str]
) -> None:
    def code(*command: str, **settings: str) -> int:
        environment = clean_environment(**{"DATABASE_URL": database, "CELERY_BROKER_URL": broker, **settings})
        return subprocess.run(
            python(*command), env=environment, cwd=ROOT, capture_output=True, check=False, timeout=60
        ).returncode

    database, broker = make_database("sqlite"), make_broker("redis")
    worker = ("-m", "executors.celery_worker")
    assert code(*worker, "--no-such-option") == 2
    assert code(*worker, DATABASE_URL="postgresql://nobody@127.0.0.1:1/away") == 1, "another try may succeed"
    assert code("-c", BROKEN) == 1
