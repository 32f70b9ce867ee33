"""Where workers and broker miss each other: jobs that could run, slots that could run them, and silence; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from executors.facts import OVERDUE, Facts, listed, names, up
from executors.finding import Finding, Severity
from executors.reason import in_seconds, state_of
from executors.settings import place_of
from tasks.inventory import Inventory
from tasks.job import Mode
from tasks.moment import moment
from tasks.worker import Worker

#: Messages that may lie at the broker beside those of waiting jobs before it is worth a word.
LEFT_OVER = 100

#: What helps a worker that lives and does not hear.
_REACH_THE_BROKER = (
    "on the worker's host, look whether CELERY_BROKER_URL leads to the same broker and the network lets "
    "it through; then restart the worker"
)


def silence(facts: Facts) -> Iterator[Finding]:
    """What lies between workers and broker."""
    if facts.record is not None:
        yield from _deaf(facts.record)
        yield from _stalled(facts, facts.record)
        yield from _brokers_differ(facts, facts.record)
        yield from _orphans(facts, facts.record)


def _stalled(facts: Facts, record: Inventory) -> Iterator[Finding]:
    """Jobs that could run, slots that could run them, and a broker between."""
    since: dict[str, int] = {}
    for found in record.waiting:
        overdue = found.plain_since is not None and found.plain_since < record.now - OVERDUE
        if found.plain_since is not None and overdue and found.queue not in record.paused:
            since[found.queue] = min(found.plain_since, since.get(found.queue, found.plain_since))
    for queue, moment_due in since.items():
        takers = [worker for worker in up(record) if queue in worker.queues]
        idle = [worker for worker in takers if worker.busy < worker.slots]
        if idle and all(worker.mode == Mode.CELERY for worker in takers):
            yield from _cause(facts, record, queue, moment_due, idle)


def _cause(facts: Facts, record: Inventory, queue: str, since: int, idle: Sequence[Worker]) -> Iterator[Finding]:
    broker = facts.broker
    if broker is None or broker.error is not None:
        return
    rung = sum(found.rung for found in record.waiting if found.queue == queue)
    lie = broker.messages.get(queue, 0)
    what = f"jobs in queue {queue} are due since {in_seconds(since, record.now)} while slots of {names(idle)} are idle"
    data = {"queue": queue, "since": moment(since), "messages": lie, "rung": rung, "workers": listed(idle)}
    if lie:
        yield Finding(
            code="worker_deaf",
            severity=Severity.ERROR,
            detail=f"{what}, and {lie} messages for them lie at the broker {broker.place} unread: "
            "those workers live, and do not reach the broker",
            done="messages are repeated; nothing is lost",
            remedy=_REACH_THE_BROKER,
            data=data,
        )
    elif rung:
        yield Finding(
            code="rings_lost",
            severity=Severity.WARNING,
            detail=f"{what}; the broker was told of {rung} and has no message: it lost them, or a worker took them",
            done="messages are repeated after two seconds while a slot is idle",
            remedy="none, if it passes; else see worker_deaf",
            data=data,
        )
    else:
        yield Finding(
            code="relay_absent",
            severity=Severity.ERROR,
            detail=f"{what}, and nobody tells the broker of them",
            remedy="start a gateway or the scheduler (python -m executors.scheduler), with USE_CELERY=1 and this "
            "database",
            data=data,
        )


def _deaf(record: Inventory) -> Iterator[Finding]:
    deaf = [worker for worker in record.workers if state_of(worker, record.now) == "deaf"]
    if deaf:
        yield Finding(
            code="worker_deaf",
            severity=Severity.ERROR,
            detail=f"{names(deaf)} live and did not answer a message that was for them: they do not reach the broker",
            done="their slots do not count; with USE_CELERY=auto threads stand in when nobody else is left",
            remedy=_REACH_THE_BROKER,
            data={"workers": listed(deaf)},
        )


def _brokers_differ(facts: Facts, record: Inventory) -> Iterator[Finding]:
    if not facts.settings.use_celery:
        return
    ours = place_of(facts.settings.broker_url)
    others: dict[str, list[Worker]] = defaultdict(list)
    for worker in record.workers:
        if worker.broker and worker.broker != ours and state_of(worker, record.now) in {"up", "deaf"}:
            others[worker.broker].append(worker)
    for place, workers in others.items():
        yield Finding(
            code="brokers_differ",
            severity=Severity.WARNING,
            detail=f"{names(workers)} listen at {place}, and rings from here go to {ours}: unless both name the same "
            "broker, they never meet",
            remedy="give gateway, scheduler and workers the same CELERY_BROKER_URL",
            data={"ours": ours, "theirs": place, "workers": listed(workers)},
        )


def _orphans(facts: Facts, record: Inventory) -> Iterator[Finding]:
    heard = {queue for worker in up(record) if worker.mode == Mode.CELERY for queue in worker.queues}
    for queue, lie in (facts.broker.messages if facts.broker else {}).items():
        rung = sum(found.rung for found in record.waiting if found.queue == queue)
        more = lie - rung
        if more > (LEFT_OVER if queue in heard else 0):
            yield Finding(
                code="rings_orphaned",
                severity=Severity.NOTE,
                detail=f"{lie} messages lie in queue {queue} at the broker, and the record waits for {rung} of them: "
                "the others are left over, or jobs that a Celery program sent",
                done="a left-over starts nothing; a job that was sent is written down when a worker takes it",
                remedy="none, where a worker serves the queue; they go as fast as it reads",
                data={"queue": queue, "messages": lie, "rung": rung},
            )
