"""Messages that are late, doubled, foreign or meaningless change nothing: the row is the truth."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from executors.celery_doorbell import Doorbell, Ring
from tests.support.deployment import JOBS, Deployment, Shape
from tests.support.ledger import Ledger
from tests.support.waiting import eventually


@pytest.fixture
def celery(deployment: Deployment) -> Deployment:
    if not deployment.celery:
        pytest.skip("threads have no messages; capabilities say so with remote_workers: false")
    return deployment


@contextmanager
def _bell(deployment: Deployment) -> Iterator[Doorbell]:
    bell = Doorbell(deployment.shape.broker_url, lambda rings: pytest.fail(f"could not ring {rings}"))
    bell.start()
    yield bell
    bell.stop()


def _settled(deployment: Deployment) -> None:
    """All earlier messages have been taken: more jobs than there are slots have run after them."""
    deployment.batch([{"task": "nap_async", "args": [0.05], "tags": ["after"]}] * 2 * deployment.slots)
    eventually(lambda: not deployment.client.get(f"{JOBS}?tag=after&status=PENDING,STARTED").json()["jobs"])


def test_a_ring_that_comes_ten_times_runs_the_job_once(celery: Deployment, ledger: Ledger) -> None:
    with celery.busy(), _bell(celery) as bell:
        job = celery.submit("note", str(ledger), "once")
        bell.ring([Ring(job["id"], "tests.note", "celery")] * 10)
    assert celery.ended(job)["attempt"] == 1
    _settled(celery)
    assert ledger.lines() == ["once"]
    assert celery.statuses(job) == ["PENDING", "STARTED", "SUCCESS"]


def test_a_ring_for_a_job_that_runs_or_has_ended_changes_nothing(celery: Deployment, ledger: Ledger) -> None:
    ended = celery.run("note", str(ledger), "ended")
    running = celery.submit("note_pid", str(ledger), 0.5)
    celery.reaches(running, "STARTED")
    with _bell(celery) as bell:
        bell.ring([Ring(job["id"], job["task"], "celery") for job in (ended, running)] * 3)
    _settled(celery)
    assert celery.read(ended) == ended
    assert celery.ended(running)["attempt"] == 1
    assert len(ledger.lines()) == 2


def test_a_ring_for_a_held_delayed_or_cancelled_job_does_not_start_it(celery: Deployment, ledger: Ledger) -> None:
    held = celery.submit("note", str(ledger), "held", held=True)
    delayed = celery.submit("note", str(ledger), "delayed", countdown=60)
    cancelled = celery.submit("note", str(ledger), "cancelled", held=True)
    celery.cancel(cancelled)
    with _bell(celery) as bell:
        bell.ring([Ring(job["id"], "tests.note", "celery") for job in (held, delayed, cancelled)] * 3)
    _settled(celery)
    assert ledger.lines() == []
    assert [celery.read(job)["status"] for job in (held, delayed, cancelled)] == ["PENDING", "PENDING", "REVOKED"]
    assert [celery.cancel(job) for job in (held, delayed)] == ["revoked", "revoked"]


def test_a_ring_for_nobody_is_not_answered(celery: Deployment) -> None:
    nobody = str(uuid.uuid4())
    with _bell(celery) as bell:
        bell.ring([Ring(nobody, "tests.add", "celery")] * 3)
    _settled(celery)
    assert celery.client.get(f"{JOBS}/{nobody}").status_code == 404


def _send(deployment: Deployment, name: str, *args: Any, **options: Any) -> str:
    """What a program does that knows Celery and nothing of us; the id that Celery gave the job."""
    from celery import Celery

    app = Celery("stranger", broker=deployment.shape.broker_url, set_as_current=False)
    app.conf.task_ignore_result = True
    with app.connection_for_write() as connection:
        sent: str = app.send_task(name, args, connection=connection, **options).id
    return sent


def _adopted(deployment: Deployment, sent: str) -> str:
    """The id of the job that the message got, once it has one."""
    found: str = eventually(
        lambda: [job["id"] for job in deployment.client.get(f"{JOBS}?tag=message:{sent}").json()["jobs"]],
        what="the job has a row",
    )[0]
    return found


def test_a_job_that_a_stranger_sends_is_adopted(celery: Deployment, ledger: Ledger) -> None:
    sent = _send(celery, "tests.note", str(ledger), kwargs={"line": "adopted"}, queue="normal")
    done = celery.ended(_adopted(celery, sent))
    assert uuid.UUID(done["id"]).version == 7
    assert (done["status"], done["task"], done["queue"]) == ("SUCCESS", "tests.note", "normal")
    assert (done["args"], done["kwargs"], done["mode"]) == ([str(ledger)], {"line": "adopted"}, "celery")
    assert ledger.lines() == ["adopted"]
    assert celery.statuses(done["id"]) == ["PENDING", "STARTED", "SUCCESS"]


def test_a_strangers_job_that_comes_twice_runs_once(celery: Deployment, ledger: Ledger) -> None:
    twin = str(uuid.uuid4())
    for _ in range(5):
        _send(celery, "tests.note", str(ledger), "twin", queue="celery", task_id=twin)
    eventually(ledger.lines)
    _settled(celery)
    assert celery.ended(_adopted(celery, twin))["attempt"] == 1
    assert ledger.lines() == ["twin"]


def test_a_message_without_a_queue_of_its_own_goes_to_the_tasks(celery: Deployment, ledger: Ledger) -> None:
    sent = _send(celery, "tests.note", str(ledger), "x", queue="other")
    assert celery.ended(_adopted(celery, sent))["queue"] == "celery"


@pytest.mark.parametrize("odd", ["zzzz-mallory/../\n", "\x00", "x" * 200, "é"])
def test_an_id_that_is_no_uuid_harms_nobody(celery: Deployment, ledger: Ledger, odd: str) -> None:
    _send(celery, "tests.note", str(ledger), "odd", queue="celery", task_id=odd + uuid.uuid4().hex)
    eventually(ledger.lines)
    celery.run("add", 1)
    pages = celery.client.get(JOBS, params={"page_size": 1})
    for _ in range(3):
        assert pages.status_code == 200, pages.text
        pages = celery.client.get(JOBS, params={"page_size": 1, "page_token": pages.json()["next_page_token"]})


def test_a_task_that_other_programs_may_not_send_does_not_run(celery: Deployment, ledger: Ledger) -> None:
    _send(celery, "tests.note_pid", str(ledger), queue="celery")
    _settled(celery)
    assert ledger.lines() == []
    eventually(lambda: any("JOBGATE_ADOPT lists" in worker.output for worker in celery.workers), 10, "it is logged")


def test_a_strangers_job_with_wrong_arguments_harms_nobody(celery: Deployment) -> None:
    _send(celery, "tests.add", "one", "two", "three", queue="celery")
    _send(celery, "tests.never_heard_of", queue="celery")
    _settled(celery)
    assert celery.run("add", 1)["status"] == "SUCCESS"


def test_two_gateways_on_one_record_run_each_job_once(deployment: Deployment, ledger: Ledger, tmp_path: Path) -> None:
    """In thread mode both claim, in Celery mode both ring."""
    shape = Shape(
        database_url=deployment.shape.database_url,
        pool=deployment.shape.pool,
        broker_url=deployment.shape.broker_url,
        workers=0,
    )
    other = Deployment(shape, tmp_path)
    try:
        other.start()
        for _ in range(3):
            for door in (deployment, other):
                door.batch([{"task": "note", "args": [str(ledger), "run"], "tags": ["shared"]}] * 20)
        done = other.all_ended("shared", 120)
        assert {(job["status"], job["attempt"]) for job in done} == {("SUCCESS", 1)}
        assert len(ledger.lines()) == 120
        # A cancel at one door reaches what the other one runs.
        job = other.submit("polite", str(ledger))
        deployment.reaches(job, "STARTED")
        assert deployment.cancel(job) == "asked"
        assert other.ended(job)["status"] == "REVOKED"
    finally:
        other.stop()
