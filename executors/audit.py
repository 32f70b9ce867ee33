"""The settings and the place they are used in, held against what the product needs; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from executors.facts import Facts
from executors.finding import Finding, Severity
from executors.identity import UNKNOWN_BOOT
from executors.settings import is_loopback, place_of
from tasks.store.backend import parse_url
from tasks.worker import Worker

Rule = Callable[[Facts], Iterator[Finding]]

#: Milliseconds that a clock may differ from the database's: nothing here goes by it but logs and old rows' removal.
MAX_SKEW = 5_000
#: A file system on which two hosts' SQLite do not see each other's locks.
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "fuse.glusterfs", "ceph",
                     "lustre", "afs", "gpfs", "virtiofs"})  # fmt: skip
#: RabbitMQ closes a channel on which a message stays unacknowledged for so many seconds, if it is not told otherwise.
CONSUMER_TIMEOUT = 1_800.0
#: Seconds: what is kept longer is as good as kept for ever.
FOR_EVER = 365 * 86_400.0
#: Milliseconds by which a sweep may be behind.
SWEEP_SLACK = 3_600_000

#: Why a variable that Celery's own deployments set has no meaning here.
_UNREAD = {
    "CELERY_TASK_ACKS_LATE": "messages are acknowledged early: the lease in the record decides what was lost",
    "CELERY_ACKS_LATE": "messages are acknowledged early: the lease in the record decides what was lost",
    "CELERY_VISIBILITY_TIMEOUT": "there is none: a message is a ring, and a lost one is repeated",
    "CELERY_BROKER_TRANSPORT_OPTIONS": "the transport's options are the product's own (docs/decisions/0003)",
    "CELERY_ENABLE_UTC": "everything inside is UTC",
    "CELERY_WORKER_PREFETCH_MULTIPLIER": "it is 1: a worker holds as little as it can",
    "CELERY_BEAT_SCHEDULE": "schedules are rows: see docs/http.md",
    "CELERY_RESULT_EXPIRES": "RESULT_EXPIRES says how long results are kept",
}


def audit(facts: Facts) -> Iterator[Finding]:
    """What is wrong with the settings, the database's place, the clocks and the broker's configuration."""
    for rule in _RULES:
        yield from rule(facts)


def _keys_missing(facts: Facts) -> Iterator[Finding]:
    settings = facts.settings
    if not settings.api_keys and not is_loopback(settings.host):
        yield Finding(
            code="keys_missing",
            severity=Severity.ERROR,
            detail=f"HOST={settings.host} can be reached from other machines, and there are no API keys",
            done="the gateway refuses to start so",
            remedy="set JOBGATE_API_KEYS (`jobgate keys new NAME --scope read`) or leave HOST at 127.0.0.1",
            data={"host": settings.host},
        )


def _sqlite_shared(facts: Facts) -> Iterator[Finding]:
    if facts.record is None or not _on_sqlite(facts):
        return
    machines = {machine_of(worker): worker.host for worker in facts.record.workers}
    if len(machines) > 1:
        yield Finding(
            code="sqlite_shared",
            severity=Severity.ERROR,
            detail=f"one SQLite file is used by several machines ({', '.join(sorted(machines.values()))}): "
            "they do not see each other's locks, and will destroy it",
            remedy="use PostgreSQL (DATABASE_URL=postgresql://…) as soon as there is a second machine",
            data={"hosts": sorted(machines.values())},
        )


def _sqlite_on_network(facts: Facts) -> Iterator[Finding]:
    if facts.host.filesystem in NETWORK:
        yield Finding(
            code="sqlite_on_network",
            severity=Severity.ERROR,
            detail=f"the SQLite file lies on a network file system ({facts.host.filesystem}), where its locks and its "
            "shared memory do not work",
            remedy="put it on a local disk, or use PostgreSQL",
            data={"filesystem": facts.host.filesystem},
        )


def _sqlite_readable(facts: Facts) -> Iterator[Finding]:
    mode = facts.host.sqlite_mode
    if mode is not None and mode & 0o077:
        yield Finding(
            code="sqlite_readable",
            severity=Severity.WARNING,
            detail=f"other users of this machine may open the SQLite file (mode {mode:04o}): it holds the arguments "
            "and results of all jobs",
            done="files that Jobgate makes are for its user alone; this one keeps the mode that it has",
            remedy="chmod 600 the file of DATABASE_URL and those beside it that end in -wal and -shm",
            data={"mode": f"{mode:04o}"},
        )


def _clocks(facts: Facts) -> Iterator[Finding]:
    skews = {"this host": facts.host.skew} if facts.host.skew is not None else {}
    workers = facts.record.workers if facts.record else ()
    skews |= {f"host {worker.host}": worker.clock_at - worker.seen_at for worker in workers if worker.clock_at}
    wrong = {name: skew / 1000 for name, skew in skews.items() if abs(skew) > MAX_SKEW}
    if wrong:
        shown = ", ".join(f"{name} {seconds:+.1f} s" for name, seconds in wrong.items())
        yield Finding(
            code="clock_skew",
            severity=Severity.WARNING,
            detail=f"clocks differ from the database's: {shown}",
            done="jobs, leases and schedules go by the database's clock only",
            remedy="let chrony or systemd-timesyncd set the clocks: logs cannot be compared, and old rows go at the "
            "wrong time",
            data={"seconds": wrong},
        )


def _unread(facts: Facts) -> Iterator[Finding]:
    for name in facts.settings.unread:
        yield Finding(
            code="setting_unread",
            severity=Severity.NOTE,
            detail=f"{name} is set and nobody reads it: {_UNREAD.get(name, 'it is no setting of this product')}",
            remedy=f"unset {name}; docs/production.md lists the settings",
            data={"variable": name},
        )


def _wire(facts: Facts) -> Iterator[Finding]:
    wire = facts.wire
    if wire is None:
        return
    if wire.acks_late or wire.ack_emulation:
        which = "acknowledges late" if wire.acks_late else "emulates acknowledgements on Redis"
        yield Finding(
            code="acks_unsafe",
            severity=Severity.ERROR,
            detail=f"a worker with these settings {which}: past the visibility timeout, or after a reset connection, "
            "messages come twice, and a failed acknowledgement leaves it deaf",
            done="a second message for a job that runs or has ended starts nothing",
            remedy="do not override what executors/celery_app.py sets (docs/decisions/0003)",
        )
    written = place_of(facts.settings.broker_url)
    if wire.read_place != written:
        yield Finding(
            code="broker_split",
            severity=Severity.ERROR,
            detail=f"CELERY_BROKER_READ_URL has workers listen at {wire.read_place}, and rings go to {written}",
            remedy="unset CELERY_BROKER_READ_URL and CELERY_BROKER_WRITE_URL",
            data={"read": wire.read_place, "written": written},
        )


def _result_backend(facts: Facts) -> Iterator[Finding]:
    backend = facts.wire.result_backend if facts.wire else None
    if not backend:
        return
    shared = "redis" in backend and place_of(backend) == place_of(facts.settings.broker_url)
    yield Finding(
        code="result_backend_set",
        severity=Severity.WARNING if shared else Severity.NOTE,
        detail="CELERY_RESULT_BACKEND is set, and nothing is written there: results are in the record"
        + ("; it is the broker's own Redis, where the results of other programs take the memory of rings" * shared),
        remedy="unset it; give Celery programs that need a result backend a Redis of their own",
        data={"shared_with_broker": shared},
    )


def _consumer_timeout(facts: Facts) -> Iterator[Finding]:
    if not facts.settings.use_celery or not facts.settings.broker_url.startswith("amqp"):
        return
    limits = {task.name: task.time_limit or facts.settings.time_limit for task in facts.registry}
    over = sorted(name for name, limit in limits.items() if limit > CONSUMER_TIMEOUT)
    if over:
        yield Finding(
            code="consumer_timeout",
            severity=Severity.WARNING,
            detail=f"jobs of {', '.join(over[:5])} may run for longer than {CONSUMER_TIMEOUT:.0f} s: RabbitMQ closes "
            "the channel of a worker that holds another message so long unacknowledged, and the worker ends",
            done="the jobs of a worker that ended run again when their leases end",
            remedy="raise consumer_timeout in rabbitmq.conf (milliseconds) above the longest time_limit",
            data={"tasks": over},
        )


def _retention(facts: Facts) -> Iterator[Finding]:
    settings, record = facts.settings, facts.record
    if max(settings.job_retention, settings.result_expires) >= FOR_EVER:
        yield Finding(
            code="retention_off",
            severity=Severity.WARNING,
            detail=f"jobs are kept for {settings.job_retention / 86_400:.0f} days and results for "
            f"{settings.result_expires / 86_400:.0f}: the database grows without end",
            remedy="set JOBGATE_JOB_RETENTION and RESULT_EXPIRES (seconds) to what is really looked at",
        )
    elif settings.result_expires > settings.job_retention:
        yield Finding(
            code="retention_crossed",
            severity=Severity.NOTE,
            detail="results should be kept for longer (RESULT_EXPIRES) than the jobs they belong to "
            "(JOBGATE_JOB_RETENTION): they go with their jobs",
            remedy="set RESULT_EXPIRES to at most JOBGATE_JOB_RETENTION",
        )
    due = record.now - round(settings.job_retention * 1000) - SWEEP_SLACK if record else 0
    if record is not None and record.oldest_end is not None and record.oldest_end < due:
        yield Finding(
            code="retention_behind",
            severity=Severity.WARNING,
            detail="the oldest job should have been removed "
            f"{(due + SWEEP_SLACK - record.oldest_end) / 3_600_000:.0f} hours ago, and is there",
            done="every gateway and scheduler removes a thousand rows a second",
            remedy="let a gateway or the scheduler run all the time; if one does, JOBGATE_JOB_RETENTION differs there",
        )


def _slots(facts: Facts) -> Iterator[Finding]:
    given_up = facts.host.slot_threads - facts.host.slots
    if given_up > 0 and facts.host.slots:
        yield Finding(
            code="threads_given_up",
            severity=Severity.WARNING,
            detail=f"{given_up} threads of this process still run bodies that were given up, beside its "
            f"{facts.host.slots} slots: tasks that notice neither limits nor cancels",
            done="their jobs have ended in the record, and each slot has a new thread",
            remedy="restart this gateway; let such tasks call context.check(), or run them on Celery workers, where a "
            "process is killed to end them",
            data={"threads": facts.host.slot_threads, "slots": facts.host.slots},
        )


def machine_of(worker: Worker) -> str:
    """What the processes of one machine have in common: its boot, whatever its containers are called."""
    parts = worker.owner.split("/", 5)
    return parts[1].partition("-")[0] if len(parts) >= 5 and parts[1] != UNKNOWN_BOOT else worker.host


def _on_sqlite(facts: Facts) -> bool:
    return parse_url(facts.settings.database_url).get_backend_name() == "sqlite"


def _no_tasks(facts: Facts) -> Iterator[Finding]:
    if not len(facts.registry):
        yield Finding(
            code="no_tasks",
            severity=Severity.ERROR,
            detail=f"no task is registered: {', '.join(facts.settings.modules)} define none",
            done="every submission is refused with unknown-task",
            remedy="name the modules that hold your @task functions in TASK_MODULES; a module that only imports others "
            "must import the tasks themselves",
            data={"modules": facts.settings.modules},
        )


_RULES: tuple[Rule, ...] = (
    _keys_missing,
    _no_tasks,
    _sqlite_shared,
    _sqlite_on_network,
    _sqlite_readable,
    _clocks,
    _wire,
    _result_backend,
    _consumer_timeout,
    _retention,
    _slots,
    _unread,
)
