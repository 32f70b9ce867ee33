"""What is done to the store and to the connections to it. Each fault lasts a while, and is over when it returns."""

from __future__ import annotations

import random
import signal
import time
from contextlib import suppress

import psutil

from tests.chaos.pg_wire import PostgresWatch
from tests.chaos.process_faults import ENDS, SLACK
from tests.chaos.proxy import Link, Proxy
from tests.chaos.site import Seat, Supervised
from tests.support.servers import Postgres

#: Seconds in which the server must have ended the session of a client that vanished in mid transaction: its own limit
#: is five, see `tasks.pg_session`.
FREED = 5.0 + SLACK


def _postgres(target: Supervised) -> Postgres:
    assert target.stage.postgres is not None
    return target.stage.postgres


def _wire(target: Supervised) -> tuple[Proxy, PostgresWatch]:
    assert target.stage.store_wire is not None
    assert target.stage.store_watch is not None
    return target.stage.store_wire, target.stage.store_watch


def lock_sqlite(target: Supervised, chance: random.Random) -> None:
    """Another writer; now and then for longer than a statement waits."""
    with target.stage.lock():
        time.sleep(chance.choice([0.5, 1.0, 1.0, 3.0, 3.0, 12.0]))


def halt_postgres(target: Supervised, chance: random.Random) -> None:
    _postgres(target).halt()
    time.sleep(chance.uniform(0.0, 1.0))
    _postgres(target).start()


def terminate_backends(target: Supervised, chance: random.Random) -> None:
    _postgres(target).run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def reset_store(target: Supervised, chance: random.Random) -> None:
    _wire(target)[0].reset()


def commit_unheard(target: Supervised, chance: random.Random) -> None:
    """What was asked is done, and the answer is lost: nobody knows whether his COMMIT was one."""
    wire, _ = _wire(target)
    wire.mode = "half"
    time.sleep(chance.uniform(0.05, 0.5))
    wire.reset()
    wire.mode = "pass"


def claim_unheard(target: Supervised, chance: random.Random) -> None:
    """Claims are committed, their answers are lost, and their connections are reset."""
    wire, watch = _wire(target)
    for _ in range(chance.randint(1, 4)):
        watch.lose_claim()
        wire.restore()


def vanish(target: Supervised, chance: random.Random) -> None:
    """A process vanishes in the middle of a transaction: no byte and no FIN of its passes any more. It is killed, or
    stands still and comes back. The server must end its session by itself, and free what it has locked."""
    wire, watch = _wire(target)
    link = watch.lose_transaction(chance.randint(2, 4))
    dies = chance.random() < 0.5
    seat = None
    try:
        seat, ports = _owner(target, link)
        for each in wire.links:
            each.lost = each.lost or each.port in ports
        if dies or seat.hangs:
            seat.renew()
        else:
            seat.signal_all(signal.SIGSTOP)
        if not link.dropped.wait(FREED):
            target.wrong.append(f"PostgreSQL kept the transaction of a vanished client for more than {FREED:g} s")
    finally:
        wire.restore()
        if seat is not None and not seat.hangs:
            seat.signal_all(signal.SIGCONT)


def _ports(seat: Seat) -> set[int]:
    """The local ports of a process and its children."""
    found: set[int] = set()
    for pid in (seat.process.pid, *seat.process.children()):
        with suppress(psutil.NoSuchProcess):
            found |= {each.laddr.port for each in psutil.Process(pid).net_connections("tcp4")}
    return found


def _owner(target: Supervised, link: Link) -> tuple[Seat, set[int]]:
    """The process that has this connection, and the local ports of all that it has."""
    for seat in target.seats:
        ports = _ports(seat)
        if link.port in ports:
            return seat, ports
    raise LookupError("the process of the lost connection is gone")


def turn_clock(target: Supervised, chance: random.Random) -> None:
    """The server's clock is an hour slow, or some seconds fast, and then right again: it jumps back either way.

    No further ahead: a delayed job waits for the clock that it was given, and must not be taken for stuck."""
    try:
        _postgres(target).set_clock(chance.choice([-3600, 20]))
        time.sleep(chance.uniform(3.0, 8.0))
    finally:
        _postgres(target).set_clock(0)


def terminate_while_silent(target: Supervised, chance: random.Random) -> None:
    """SIGTERM of a gateway or worker while the server takes every statement and answers none."""
    seat = chance.choice([seat for seat in target.seats if not seat.hangs])
    process = seat.process
    with _postgres(target).silent():
        process.signal(signal.SIGTERM)
        ended = process.ends(ENDS + SLACK)
    if not ended:
        target.wrong.append(f"{process.name} did not end within {ENDS + SLACK:g} s while PostgreSQL was silent")
        seat.renew()
    seat.revive()
