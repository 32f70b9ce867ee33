"""Every finding of the doctor's rules, from the facts that must lead to it, and from those that must not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from executors.celery_probe import look_at_wire
from executors.examination import examine, filesystem_of
from executors.facts import BrokerFacts, Facts, HostFacts, WireFacts
from executors.finding import Finding, Severity, exit_status
from executors.settings import Settings
from tasks import task
from tasks.inventory import Holding, Inventory, Outcome, Planned, Waiting
from tasks.registry import Registry
from tasks.worker import Worker

NOW = 1_900_000_000_000
LONG_AGO = NOW - 60_000
#: An address that other machines reach.
EVERYWHERE = "::"
BROKER = "redis://127.0.0.1:6379/0"


@task(name="tests.scan", queue="citations")
def scan() -> None: ...


REGISTRY = Registry([scan])
WORKER = Worker(
    owner="here/b00t-1/1/1/ab", name="celery@here", host="here", pid=1, mode="celery", pool="prefork", slots=2, busy=0,
    queues=("citations",), tasks=("tests.scan",), version="0.1.0", draining=False, broker=BROKER, clock_at=NOW,
    seen_at=NOW,
)  # fmt: skip
WAITING = Waiting(
    queue="citations", task="tests.scan", jobs=3, due=3, due_since=NOW - 100, rung=0, plain_since=NOW - 100, attempts=0,
    example="one",
)  # fmt: skip
RECORD = Inventory(
    now=NOW, workers=[WORKER], waiting=[], running=[], outcomes=[], unstaged_since=None, unexpired_since=None,
    oldest_end=None,
)  # fmt: skip
GOOD_BROKER = BrokerFacts(place=BROKER, messages={"citations": 0}, memory=1, max_memory=0, policy="noeviction")
WIRE = WireFacts(acks_late=False, ack_emulation=False, result_backend=None, read_place=BROKER)
WELL = Facts(
    settings=Settings(use_celery=True),
    registry=REGISTRY,
    queues=["citations"],
    host=HostFacts(skew=0, filesystem="ext4", sqlite_mode=0o600),
    record=RECORD,
    broker=GOOD_BROKER,
    wire=WIRE,
)


def record(**fields: Any) -> Facts:
    return structs.replace(WELL, record=structs.replace(RECORD, **fields))


def settings(**fields: Any) -> Facts:
    return structs.replace(WELL, settings=structs.replace(WELL.settings, **fields))


def broker(**fields: Any) -> Facts:
    return structs.replace(WELL, broker=structs.replace(GOOD_BROKER, **fields))


def wire(**fields: Any) -> Facts:
    return structs.replace(WELL, wire=structs.replace(WIRE, **fields))


def waiting(**fields: Any) -> Sequence[Waiting]:
    return [structs.replace(WAITING, **fields)]


def worker(**fields: Any) -> Sequence[Worker]:
    return [structs.replace(WORKER, **fields)]


def outcome(**fields: Any) -> Outcome:
    plain: dict[str, Any] = {"task": "tests.scan", "status": "FAILURE", "error_code": "task_error", "count": 1,
                             "error_type": "ValueError", "message": "no", "job_id": "one"}  # fmt: skip
    return Outcome(**{**plain, **fields})


def planned(**fields: Any) -> Planned:
    plain: dict[str, Any] = {"name": "nightly", "timezone": "UTC", "cron": True, "enabled": True, "paused": None,
                             "next_at": NOW + 1, "error": None}  # fmt: skip
    return Planned(**{**plain, **fields})


def codes(facts: Facts) -> list[str]:
    return [finding.code for finding in examine(facts)]


def only(facts: Facts) -> Finding:
    (finding,) = examine(facts)
    return finding


GONE = "here/b00t-1/2/2/cd"
stalled = waiting(due_since=LONG_AGO, plain_since=LONG_AGO)

FINDINGS: Sequence[tuple[Facts, str, Severity, str]] = [
    (record(workers=[]), "no_workers", Severity.WARNING, "nobody takes jobs, and 0 are due"),
    (record(workers=[], waiting=waiting()), "no_workers", Severity.ERROR, "nobody takes jobs, and 3 are due"),
    (record(waiting=waiting(queue="citation")), "queue_unconsumed", Severity.ERROR, "was citations meant?"),
    (structs.replace(WELL, queues=["citations", "low"]), "queue_unserved", Severity.WARNING, "sent to low"),
    (record(waiting=waiting(task="tests.other")), "task_unknown", Severity.ERROR, "3 jobs of task tests.other wait"),
    (record(workers=worker(tasks=("tests.old",))), "task_unregistered", Severity.WARNING, "tests.scan can be"),
    (record(workers=worker(version="0.0.9")), "versions_differ", Severity.WARNING, "versions 0.0.9, 0.1.0"),
    (record(workers=[WORKER, *worker(owner=GONE, seen_at=LONG_AGO, clock_at=LONG_AGO)],
            running=[Holding(owner=GONE, jobs=2, lease_until=NOW + 1)]),
     "worker_stale", Severity.WARNING, "it holds 2 jobs"),
    (record(workers=[WORKER, *worker(owner=GONE, seen_at=LONG_AGO, clock_at=LONG_AGO)]),
     "worker_stale", Severity.NOTE, "it holds 0 jobs"),
    (record(running=[Holding(owner=WORKER.owner, jobs=1, lease_until=LONG_AGO)]),
     "upkeep_absent", Severity.ERROR, "a lease ended at"),
    (record(unstaged_since=LONG_AGO), "upkeep_absent", Severity.ERROR, "a delayed job came due at"),
    (record(unexpired_since=LONG_AGO), "upkeep_absent", Severity.ERROR, "a job expired at"),
    (record(waiting=stalled), "relay_absent", Severity.ERROR, "nobody tells the broker of them"),
    (record(waiting=waiting(plain_since=LONG_AGO, rung=3)), "rings_lost", Severity.WARNING, "has no message"),
    (structs.replace(record(waiting=waiting(plain_since=LONG_AGO, rung=3)),
                     broker=structs.replace(GOOD_BROKER, messages={"citations": 3})),
     "worker_deaf", Severity.ERROR, "3 messages for them lie at the broker redis://127.0.0.1:6379/0 unread"),
    (record(workers=[WORKER, *worker(owner=GONE, name="celery@deaf", deaf=True)]),
     "worker_deaf", Severity.ERROR, "celery@deaf live and did not answer"),
    (record(waiting=stalled, paused={"citations": None}), "queue_paused", Severity.NOTE, "until it is resumed; 3 due"),
    (record(workers=worker(broker="redis://other:6379/0")), "brokers_differ", Severity.WARNING, "redis://other:6379/0"),
    (broker(messages={"citations": 500}), "rings_orphaned", Severity.NOTE, "500 messages lie in queue citations"),
    (broker(messages={"old": 1}), "rings_orphaned", Severity.NOTE, "1 messages lie in queue old"),
    (broker(error="ConnectionRefusedError: 111"), "broker_away", Severity.ERROR, "ConnectionRefusedError"),
    (broker(max_memory=100, policy="allkeys-lru", evicted=7), "redis_evicts", Severity.ERROR, "allkeys-lru"),
    (broker(max_memory=100, memory=95), "redis_full", Severity.WARNING, "95% of its memory"),
    (broker(open=True), "broker_open", Severity.ERROR, "answers without a password"),
    (broker(results=True), "redis_shared", Severity.WARNING, "somebody's Celery result backend"),
    (broker(unacked=4), "acks_emulated", Severity.WARNING, "4 messages lie in `unacked`"),
    (structs.replace(WELL, registry=Registry()), "no_tasks", Severity.ERROR, "tasks.packs.demo define none"),
    (settings(host=EVERYWHERE), "keys_missing", Severity.ERROR, "no API keys"),
    (record(workers=[WORKER, *worker(owner="there/b00t2-1/1/1/cd", host="there")]),
     "sqlite_shared", Severity.ERROR, "several machines (here, there)"),
    (structs.replace(WELL, host=HostFacts(skew=0, filesystem="nfs4")), "sqlite_on_network", Severity.ERROR, "nfs4"),
    (structs.replace(WELL, host=HostFacts(skew=0, sqlite_mode=0o644)), "sqlite_readable", Severity.WARNING, "0644"),
    (structs.replace(WELL, host=HostFacts(skew=-90_000)), "clock_skew", Severity.WARNING, "this host -90.0 s"),
    (record(workers=worker(clock_at=NOW + 20_000)), "clock_skew", Severity.WARNING, "host here +20.0 s"),
    (wire(acks_late=True), "acks_unsafe", Severity.ERROR, "acknowledges late"),
    (wire(ack_emulation=True), "acks_unsafe", Severity.ERROR, "emulates acknowledgements"),
    (wire(read_place="redis://other:6379/0"), "broker_split", Severity.ERROR, "listen at redis://other:6379/0"),
    (wire(result_backend="redis://127.0.0.1:6379/1"), "result_backend_set", Severity.NOTE, "results are in the record"),
    (wire(result_backend="redis://127.0.0.1/0"), "result_backend_set", Severity.WARNING, "the broker's own Redis"),
    (settings(broker_url="amqp://127.0.0.1:5672//", time_limit=3600.0), "consumer_timeout", Severity.WARNING, "1800 s"),
    (settings(job_retention=315_360_000.0), "retention_off", Severity.WARNING, "kept for 3650 days"),
    (settings(job_retention=600.0), "retention_crossed", Severity.NOTE, "kept for longer"),
    (record(oldest_end=NOW - 8 * 86_400_000), "retention_behind", Severity.WARNING, "24 hours ago"),
    (structs.replace(WELL, host=HostFacts(skew=0, slots=4, slot_threads=6)),
     "threads_given_up", Severity.WARNING, "2 threads"),
    (settings(unread=("CELERY_ENABLE_UTC",)), "setting_unread", Severity.NOTE, "everything inside is UTC"),
    (record(outcomes=[outcome(count=3)]), "task_failing", Severity.WARNING, "3 of the last 3 attempts of"),
    (record(outcomes=[outcome(), outcome(status="SUCCESS", error_code=None, error_type=None, message=None, count=9)]),
     "task_failing", Severity.NOTE, "1 of the last 10 attempts"),
    (record(schedules=[planned(next_at=LONG_AGO)]), "schedules_overdue", Severity.ERROR, "no process fires"),
    (record(schedules=[planned(enabled=False, paused="failures")]), "schedule_paused", Severity.WARNING, "paused"),
    (record(schedules=[planned(error="no task x")]), "schedule_broken", Severity.WARNING, "its last job: no task x"),
    (record(schedules=[planned(timezone="Asia/Shanghai")]), "schedule_zone", Severity.NOTE, "of Asia/Shanghai"),
    (record(waiting=waiting(attempts=12)), "retries_endless", Severity.WARNING, "12 attempts behind it"),
]  # fmt: skip


def test_where_nothing_is_wrong_nothing_is_found() -> None:
    assert examine(WELL) == []
    assert exit_status([]) == 0


@pytest.mark.parametrize(("facts", "code", "severity", "words"), FINDINGS, ids=[f"{f[1]}-{f[3]}" for f in FINDINGS])
def test_a_finding_and_nothing_else(facts: Facts, code: str, severity: Severity, words: str) -> None:
    if facts.settings.broker_url.startswith("amqp"):
        facts = structs.replace(facts, wire=None, record=structs.replace(RECORD, workers=worker(broker="")))
    finding = only(facts)
    assert (finding.code, finding.severity) == (code, severity)
    assert words in finding.detail
    assert finding.remedy


def test_every_finding_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    missing = {code for _, code, _, _ in FINDINGS if f"| `{code}` |" not in page}
    assert not missing


@pytest.mark.parametrize(
    "facts",
    [
        record(waiting=waiting()),
        record(waiting=stalled, workers=worker(busy=2)),
        record(waiting=stalled, workers=worker(mode="thread", broker="")),
        record(waiting=waiting(due=0, due_since=None, plain_since=None, queue="citations")),
        record(running=[Holding(owner=WORKER.owner, jobs=1, lease_until=NOW - 100)]),
        record(workers=[WORKER, *worker(owner="other-name/b00t-2/1/1/cd", host="container")]),
        record(workers=worker(clock_at=NOW - 900)),
        broker(messages={"citations": 2}),
        broker(max_memory=100, policy="noeviction"),
        settings(host=EVERYWHERE, api_keys=("shop:secret",)),
        record(outcomes=[outcome(status="REVOKED", error_code="cancelled", error_type=None)]),
        record(schedules=[planned(), planned(enabled=False, paused="operator", next_at=LONG_AGO)]),
        structs.replace(WELL, record=None, broker=None, wire=None),
    ],
)  # fmt: skip
def test_what_is_usual_is_no_finding(facts: Facts) -> None:
    assert codes(facts) == []


def test_the_worst_stands_first_and_says_how_a_command_ends() -> None:
    found = examine(
        structs.replace(settings(host=EVERYWHERE, unread=("CELERY_X",)), broker=broker(results=True).broker)
    )
    assert [finding.severity for finding in found] == ["error", "warning", "note"]
    assert [exit_status(found), exit_status(found[1:]), exit_status(found[2:])] == [2, 1, 0]


def test_a_deaf_worker_that_listens_elsewhere_has_its_cause_named() -> None:
    found = record(workers=worker(deaf=True, broker="redis://other:6379/0"))
    assert codes(found) == ["worker_deaf", "no_workers", "brokers_differ"]


def test_an_error_that_is_just_the_tasks_name_is_told_from_its_cause() -> None:
    named = only(record(outcomes=[outcome(error_type="NotRegistered", message="'tests.scan'")]))
    assert "says no more than a name" in named.detail
    assert "has not registered it" in named.remedy
    bare = only(record(outcomes=[outcome(error_type="RuntimeError", message="RuntimeError")]))
    assert "raise it with words" in bare.remedy


def test_what_cannot_be_mended_by_trying_again_is_a_warning_at_once() -> None:
    many = outcome(status="SUCCESS", error_code=None, error_type=None, message=None, count=99)
    wrong = outcome(error_code="invalid_arguments", error_type=None, message="path: Missing required argument")
    finding = only(record(outcomes=[many, wrong]))
    assert finding.severity is Severity.WARNING
    assert "schema" in finding.remedy


def test_the_products_own_wire_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_RESULT_BACKEND", raising=False)
    own = look_at_wire(Settings(use_celery=True), ["citations"])
    assert own == WIRE
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://127.0.0.1:6379/0")
    monkeypatch.setenv("CELERY_BROKER_READ_URL", "redis://elsewhere/3")
    misled = look_at_wire(Settings(use_celery=True), ["citations"])
    assert (misled.result_backend, misled.read_place) == ("redis://127.0.0.1:6379/0", "redis://elsewhere:6379/3")


def test_variables_of_celery_that_nobody_reads_are_named() -> None:
    environ = {"CELERY_TASK_ACKS_LATE": "1", "CELERY_CONCURRENCY": "2", "CELERY_RESULT_BACKEND": "redis://a"}
    assert Settings.from_env(environ).unread == ("CELERY_TASK_ACKS_LATE",)


MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:38 / /srv/share\\040one rw,relatime shared:20 - nfs4 files:/export rw
41 22 0:39 / /srv rw - xfs /dev/sdb1 rw"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv/share one/jobs.db", "nfs4"), ("/srv/jobs.db", "xfs"), ("/var/jobs.db", "ext4"), ("/srvx/jobs.db", "ext4")],
)
def test_where_a_file_lies(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), MOUNTS) == kind
    assert filesystem_of(Path(path), "") is None
