"""What is done to the processes and to the ground under them. Each fault lasts a while, and is over when it returns."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from tests.chaos.site import GRACE, LEASE, Seat, Site, Supervised

#: Seconds that a worker lives after a SIGTERM at most, whatever it does.
ENDS = GRACE + 15


#: Seconds that a fault waits for the jobs to come as far as it is meant for.
HELD_UP = 20.0

Fault = Callable[[Supervised, random.Random], None]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


# Of our own processes.


def kill_child(target: Supervised, chance: random.Random) -> None:
    if children := target.children():
        _kill(chance.choice(children))


def kill_worker(target: Supervised, chance: random.Random) -> None:
    """The whole tree; somebody else has it back in a second."""
    seat = chance.choice(target.workers)
    seat.signal_all(signal.SIGKILL)
    time.sleep(chance.uniform(0.1, 1.0))
    target.supervise()


def kill_gateway(target: Supervised, chance: random.Random) -> None:
    seat = chance.choice([seat for seat in target.seats if seat not in target.workers])
    seat.signal(signal.SIGKILL)
    time.sleep(chance.uniform(0.0, 0.5))
    seat.renew()


def _freeze(seat: Seat, seconds: float) -> None:
    seat.signal_all(signal.SIGSTOP)
    time.sleep(seconds)
    seat.signal_all(signal.SIGCONT)


def freeze_past_the_lease(target: Supervised, chance: random.Random) -> None:
    """Others take its jobs; when it is back it is a zombie that wants to write."""
    _freeze(chance.choice(target.workers or target.seats), LEASE + chance.uniform(1.0, 2.0))


def freeze_within_the_lease(target: Supervised, chance: random.Random) -> None:
    _freeze(chance.choice(target.seats), LEASE * chance.uniform(0.2, 0.5))


def freeze_child(target: Supervised, chance: random.Random) -> None:
    if children := target.children():
        pid = chance.choice(children)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(LEASE + 1)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def terminate_twice(target: Supervised, chance: random.Random) -> None:
    """SIGTERM under load, and again before it has ended."""
    seat = chance.choice(target.seats)
    seat.signal(signal.SIGTERM)
    time.sleep(chance.uniform(0.1, 1.0))
    seat.signal(signal.SIGTERM)
    seat.process.ends(ENDS)
    seat.renew() if not seat.dead else seat.revive()


def switch(target: Supervised, chance: random.Random) -> None:
    assert isinstance(target, Site)
    target.switch(chance)


def messages(target: Supervised, chance: random.Random) -> None:
    """Doubled, late, forged, and for nobody."""
    assert isinstance(target, Site)
    target.ring(chance)


# Of the broker.


def _restart(part: object, pause: float) -> None:
    process = part.process  # type: ignore[attr-defined]  # Redis or RabbitMQ
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stop()
    time.sleep(pause)
    part.start()  # type: ignore[attr-defined]


def kill_redis(target: Supervised, chance: random.Random) -> None:
    """Back after a while, and empty."""
    _restart(target.stage.redis, chance.uniform(0.2, 2.0))


def flush_redis(target: Supervised, chance: random.Random) -> None:
    import redis

    with redis.Redis(port=target.stage.redis.port) as client:  # type: ignore[union-attr]
        client.flushall()


def stall_broker(target: Supervised, chance: random.Random) -> None:
    """It is there, and says nothing."""
    part = target.stage.redis or target.stage.rabbit
    assert part is not None
    os.killpg(part.process.pid, signal.SIGSTOP)
    time.sleep(chance.choice([1.5, 3.0, 3.0, 10.0]))
    os.killpg(part.process.pid, signal.SIGCONT)


def kill_rabbit(target: Supervised, chance: random.Random) -> None:
    _restart(target.stage.rabbit, chance.uniform(0.2, 2.0))


def _wire(mode: str, seconds: tuple[float, float]) -> Fault:
    def cut(target: Supervised, chance: random.Random) -> None:
        wire = target.stage.broker_wire
        assert wire is not None
        wire.mode = mode
        time.sleep(chance.uniform(*seconds))
        wire.mode = "pass"
        if mode != "slow":  # what a hole swallowed is missing from the stream
            wire.reset()

    return cut


def reset_broker(target: Supervised, chance: random.Random) -> None:
    target.stage.broker_wire.reset()  # type: ignore[union-attr]


# Of the store.


def lock_sqlite(target: Supervised, chance: random.Random) -> None:
    """Another writer; now and then for longer than a statement waits."""
    with target.stage.lock():
        time.sleep(chance.choice([0.5, 1.0, 1.0, 3.0, 3.0, 12.0]))


def halt_postgres(target: Supervised, chance: random.Random) -> None:
    postgres = target.stage.postgres
    assert postgres is not None
    postgres.halt()
    time.sleep(chance.uniform(0.0, 1.0))
    postgres.start()


def terminate_backends(target: Supervised, chance: random.Random) -> None:
    assert target.stage.postgres is not None
    target.stage.postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def reset_store(target: Supervised, chance: random.Random) -> None:
    target.stage.store_wire.reset()  # type: ignore[union-attr]


def commit_unheard(target: Supervised, chance: random.Random) -> None:
    """What was asked is done, and the answer is lost: nobody knows whether his COMMIT was one."""
    wire = target.stage.store_wire
    assert wire is not None
    wire.mode = "half"
    time.sleep(chance.uniform(0.05, 0.5))
    wire.reset()
    wire.mode = "pass"


_CELERY: dict[str, Fault] = {
    "kill a child": kill_child,
    "kill a worker": kill_worker,
    "freeze a worker past its lease": freeze_past_the_lease,
    "freeze a child past its lease": freeze_child,
    "freeze within the lease": freeze_within_the_lease,
    "SIGTERM twice under load": terminate_twice,
}
_DOOR: dict[str, Fault] = {"kill a gateway": kill_gateway}
_ALONE: dict[str, Fault] = {
    "freeze a gateway past its lease": freeze_past_the_lease,
    "freeze within the lease": freeze_within_the_lease,
    "SIGTERM twice under load": terminate_twice,
}
_WIRE: dict[str, Fault] = {
    "broker: nothing passes": _wire("hole", (1.5, 4.0)),
    "broker: answers are lost": _wire("half", (1.5, 3.0)),
    "broker: slow": _wire("slow", (2.0, 4.0)),
    "broker: all connections reset": reset_broker,
    "broker: stalled": stall_broker,
}
_GROUND: dict[str, dict[str, Fault]] = {
    "redis": {"Redis killed, back empty": kill_redis, "FLUSHALL": flush_redis, **_WIRE},
    "rabbitmq": {"RabbitMQ killed": kill_rabbit, **_WIRE},
    "sqlite": {"SQLite locked by another writer": lock_sqlite},
    "postgresql": {
        "PostgreSQL stopped at once": halt_postgres,
        "PostgreSQL ends all sessions": terminate_backends,
        "PostgreSQL: all connections reset": reset_store,
        "PostgreSQL: commits unheard": commit_unheard,
    },
    "none": {},
    "": {},
}


def of_processes(mode: str) -> dict[str, Fault]:
    """What can be done to the processes of a mode: thread, celery, auto, switch or plain."""
    if mode == "plain":
        return dict(_CELERY)
    strange = {"messages doubled, late, forged": messages}
    workers = {} if mode == "thread" else {**_CELERY, **strange}
    switching = {"USE_CELERY switched": switch} if mode == "switch" else {}
    return {**(workers or _ALONE), **_DOOR, **switching}


def of_ground(broker: str, store: str) -> dict[str, Fault]:
    return {**_GROUND[broker], **_GROUND[store]}


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
