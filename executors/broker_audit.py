"""Whether the broker is there, and what a Redis needs to be a good one; pure."""

from __future__ import annotations

from collections.abc import Iterator

from executors.facts import BrokerFacts, Facts
from executors.finding import Finding, Severity

#: The share of its memory from which a Redis counts as nearly full.
NEARLY_FULL = 0.9


def broker_audit(facts: Facts) -> Iterator[Finding]:
    """What is wrong with the broker as it is set up."""
    broker = facts.broker
    if broker is None:
        return
    if broker.error is not None:
        yield _away(broker, broker.error)
        return
    yield from _open(broker)
    yield from _memory(broker)
    yield from _company(broker)


def _away(broker: BrokerFacts, error: str) -> Finding:
    return Finding(
        code="broker_away",
        severity=Severity.ERROR,
        detail=f"the broker at {broker.place} does not answer this process: {error.partition(':')[0]}",
        done="jobs are accepted, and wait in the record until it is back",
        remedy="is it up (redis-cli ping), is CELERY_BROKER_URL right, does the network let this host through?",
        data={"broker": broker.place, "error": error},
    )


def _open(broker: BrokerFacts) -> Iterator[Finding]:
    if broker.open:
        yield Finding(
            code="broker_open",
            severity=Severity.ERROR,
            detail=f"the Redis at {broker.place} answers without a password, and not on this machine alone: whoever "
            "reaches it can stop workers, delay jobs, and send messages for the tasks of JOBGATE_ADOPT",
            done="messages without a job are dropped unless JOBGATE_ADOPT lists their task",
            remedy="set requirepass or ACLs there, put the password into CELERY_BROKER_URL, and close the network",
            data={"broker": broker.place},
        )


def _memory(broker: BrokerFacts) -> Iterator[Finding]:
    if broker.max_memory and broker.policy != "noeviction":
        yield Finding(
            code="redis_evicts",
            severity=Severity.ERROR,
            detail=f"the Redis at {broker.place} throws keys away when it is full (maxmemory-policy {broker.policy}); "
            f"{broker.evicted} since its start. Queues are keys",
            done="messages that went are repeated",
            remedy="maxmemory-policy noeviction, in redis.conf and by CONFIG SET",
            data={"policy": broker.policy, "max_memory": broker.max_memory, "evicted": broker.evicted},
        )
    if broker.max_memory and broker.memory > NEARLY_FULL * broker.max_memory:
        yield Finding(
            code="redis_full",
            severity=Severity.WARNING,
            detail=f"the Redis at {broker.place} uses {broker.memory / broker.max_memory:.0%} of its memory: "
            "when it is full it takes no more messages",
            done="jobs are accepted, and wait in the record",
            remedy="a Redis of its own for the broker: it holds a few messages a slot and needs next to nothing",
            data={"memory": broker.memory, "max_memory": broker.max_memory},
        )


def _company(broker: BrokerFacts) -> Iterator[Finding]:
    if broker.results:
        yield Finding(
            code="redis_shared",
            severity=Severity.WARNING,
            detail=f"the Redis database {broker.place} is also somebody's Celery result backend (celery-task-meta-*): "
            "what is written there takes memory from the messages, and a FLUSHDB takes the messages along",
            remedy="a Redis of its own for the broker, or at least a database of its own (…/1)",
            data={"broker": broker.place},
        )
    if broker.unacked:
        yield Finding(
            code="acks_emulated",
            severity=Severity.WARNING,
            detail=f"{broker.unacked} messages lie in `unacked` at {broker.place}: a Celery program with emulated "
            "acknowledgements reads from this database; past its visibility timeout (an hour, the shortest of all who "
            "share it) messages are delivered again",
            done="a second message for a job that runs or has ended starts nothing",
            remedy="let other Celery programs have a Redis database of their own",
            data={"unacked": broker.unacked},
        )
