"""What a doctor has to go by: settings, record, broker and host, each as it was read; None for what could not be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from executors.settings import Settings
from tasks.inventory import Inventory
from tasks.registry import Registry
from tasks.worker import Worker, WorkerState, worker_state


class BrokerFacts(Struct, frozen=True, kw_only=True):
    """A broker as it was met. `messages` are those that lie there, by queue; `error` says why nothing could be read.

    The rest is Redis's: `memory` in bytes with its `max_memory` (0: none) and `policy`, `evicted` keys since its start,
    `unacked` messages that a consumer with emulated acknowledgements holds, whether `results` of a Celery result
    backend lie beside the messages, and whether it is `open`: reached over a network without a password.
    """

    place: str
    error: str | None = None
    messages: Mapping[str, int] = {}
    memory: int = 0
    max_memory: int = 0
    policy: str = ""
    evicted: int = 0
    unacked: int = 0
    results: bool = False
    open: bool = False


class WireFacts(Struct, frozen=True, kw_only=True):
    """How a worker started with these settings would talk to the broker."""

    acks_late: bool
    ack_emulation: bool
    result_backend: str | None
    read_place: str


class HostFacts(Struct, frozen=True, kw_only=True):
    """This host and process. `skew`: its clock minus the database's, in milliseconds; `filesystem` is the kind that the
    SQLite file lies on, `sqlite_mode` its permission bits; `slot_threads` run bodies in this process, for `slots` of
    them."""

    skew: int | None = None
    filesystem: str | None = None
    sqlite_mode: int | None = None
    slot_threads: int = 0
    slots: int = 0


class Facts(Struct, frozen=True, kw_only=True):
    """Everything. `queues` are those that jobs may name, `tasks` those that can be asked for."""

    settings: Settings
    registry: Registry
    queues: Sequence[str]
    host: HostFacts
    record: Inventory | None = None
    broker: BrokerFacts | None = None
    wire: WireFacts | None = None


#: Milliseconds after which what should have happened at once has not.
OVERDUE = 5_000


def up(record: Inventory) -> list[Worker]:
    """The workers that take jobs."""
    return [one for one in record.workers if one.slots and worker_state(one, record.now) is WorkerState.UP]


def names(workers: Sequence[Worker]) -> str:
    """The first of them, for a sentence."""
    return ", ".join(listed(workers)[:5])


def listed(workers: Sequence[Worker]) -> list[str]:
    """Each by its name, once however many processes it has."""
    return sorted({worker.name for worker in workers})
