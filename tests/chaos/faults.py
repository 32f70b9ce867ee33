"""Which faults there are for a mode, a broker and a store, and who makes them one after the other."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.chaos import broker_faults as broker
from tests.chaos import process_faults as process
from tests.chaos import store_faults as store
from tests.chaos.site import Supervised
from tests.support.servers import find_faketime

#: Seconds that a fault waits for the jobs to come as far as it is meant for.
HELD_UP = 20.0

Fault = Callable[[Supervised, random.Random], None]

#: Of any Celery worker, with Jobgate or without.
_WORKERS: dict[str, Fault] = {
    "kill a child": process.kill_child,
    "kill a worker": process.kill_worker,
    "freeze a worker past its lease": process.freeze_past_the_lease,
    "freeze a child past its lease": process.freeze_child,
    "freeze within the lease": process.freeze_within_the_lease,
    "SIGTERM twice under load": process.terminate_twice,
    "SIGQUIT, SIGINT twice, SIGTERM and SIGQUIT": process.end_cold,
}
_CELERY: dict[str, Fault] = {
    **_WORKERS,
    "messages doubled, late, forged": process.messages,
    "a worker's parent hangs for good": process.hang_parent,
    "two workers of one name, one stopped": process.stop_namesake,
}
_THREADS: dict[str, Fault] = {
    "freeze a gateway past its lease": process.freeze_past_the_lease,
    "freeze within the lease": process.freeze_within_the_lease,
    "SIGTERM twice under load": process.terminate_twice,
    "SIGINT twice under load": process.interrupt_twice,
}
_GATEWAY: dict[str, Fault] = {"kill a gateway": process.kill_gateway}
_WIRE: dict[str, Fault] = {
    "broker: nothing passes": broker.wire("hole", (1.5, 4.0)),
    "broker: answers are lost": broker.wire("half", (1.5, 3.0)),
    "broker: slow": broker.wire("slow", (2.0, 4.0)),
    "broker: all connections reset": broker.reset_broker,
    "broker: stalled": broker.stall_broker,
}
_CLOCK: dict[str, Fault] = {"PostgreSQL: its clock goes back": store.turn_clock}
_GROUND: dict[str, dict[str, Fault]] = {
    "redis": {
        "Redis killed, back empty": broker.kill_redis,
        "FLUSHALL": broker.flush_redis,
        "Redis takes no writes": broker.refuse_writes,
        "malformed messages": broker.malformed_in_redis,
        **_WIRE,
    },
    "rabbitmq": {
        "RabbitMQ killed": broker.kill_rabbit,
        "malformed messages": broker.malformed_in_rabbit,
        **_WIRE,
    },
    "sqlite": {"SQLite locked by another writer": store.lock_sqlite},
    "postgresql": {
        "PostgreSQL stopped at once": store.halt_postgres,
        "PostgreSQL ends all sessions": store.terminate_backends,
        "PostgreSQL: all connections reset": store.reset_store,
        "PostgreSQL: commits unheard": store.commit_unheard,
        "PostgreSQL: claims unheard": store.claim_unheard,
        "PostgreSQL: a client vanishes in mid transaction": store.vanish,
        "PostgreSQL silent, and SIGTERM": store.terminate_while_silent,
        **(_CLOCK if find_faketime() else {}),
    },
    "none": {},
    "": {},
}


def of_processes(mode: str) -> dict[str, Fault]:
    """What can be done to the processes of a mode: thread, celery, auto, switch or plain."""
    if mode == "plain":
        return dict(_WORKERS)
    switching = {"USE_CELERY switched": process.switch} if mode == "switch" else {}
    return {**(_THREADS if mode == "thread" else _CELERY), **_GATEWAY, **switching}


def of_ground(broker: str, store: str) -> dict[str, Fault]:
    return {**_GROUND[broker], **_GROUND[store]}


def left_out() -> str:
    """Returns which faults cannot be made on this machine, and why; nothing if all can."""
    return "" if find_faketime() else f"not made: {', '.join(_CLOCK)}; the package faketime is not installed"


class Nemesis:
    """Two hands: one for the processes, one for the ground; together they do `number` faults, spread over the jobs:
    `progress` tells which part of them has been submitted."""

    def __init__(
        self,
        target: Supervised,
        hands: Sequence[dict[str, Fault]],
        number: int,
        seed: int,
        progress: Callable[[], float],
    ) -> None:
        self._target = target
        self._progress = progress
        self._number = self._left = number
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()
        self.broken: list[str] = []
        self.ended_at = time.time()
        self.spans: list[tuple[str, float, float]] = []
        self.stop = threading.Event()
        self._hands = [
            threading.Thread(target=self._work, args=(hand, random.Random(f"{seed}/{n}")), daemon=True)
            for n, hand in enumerate(hands)
            if hand
        ]

    def start(self) -> None:
        for hand in self._hands:
            hand.start()

    def join(self) -> None:
        for hand in self._hands:
            hand.join()

    def _work(self, faults: dict[str, Fault], chance: random.Random) -> None:
        order: list[str] = []
        while not self.stop.is_set():
            with self._lock:
                if self._left <= 0:
                    return
                self._left -= 1
                part = 1 - (self._left + 1) / self._number
            self._wait_for(part)
            if not order:  # each kind once before any comes again
                order = chance.sample(sorted(faults), len(faults))
            self._do(order.pop(), faults, chance)
            self.stop.wait(chance.uniform(0.2, 1.2))

    def _wait_for(self, part: float) -> None:
        """Until so much of the work has come in; not for ever, because a fault may be what holds it up."""
        ends = time.monotonic() + HELD_UP
        while self._progress() < part and time.monotonic() < ends:
            self.stop.wait(0.1)

    def _do(self, name: str, faults: dict[str, Fault], chance: random.Random) -> None:
        began = time.time()
        try:
            faults[name](self._target, chance)
            self._target.supervise()
        except Exception as error:  # one fault that could not be made must not end the others
            self.broken.append(f"{name}: {type(error).__name__}: {error}")
        self.done[name] += 1
        self.ended_at = time.time()
        self.spans.append((name, began, self.ended_at))
