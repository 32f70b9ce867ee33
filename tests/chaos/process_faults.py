"""What is done to gateways, workers and their processes. Each fault lasts a while, and is over when it returns."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

from tests.chaos.site import GRACE, LEASE, Seat, Site, Supervised

#: Seconds in which a process ends after a SIGTERM, whatever it does, and some more for a busy machine.
ENDS = GRACE + 15
SLACK = 10.0
#: Seconds in which the processes of a worker must have ended a parent that hangs. Half a minute is usual; a broker that
#: is away meanwhile begins the count again.
HANGS = 150.0
READY = "Jobgate worker"


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_child(target: Supervised, chance: random.Random) -> None:
    if children := target.children():
        kill(chance.choice(children))


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


def freeze(seat: Seat, seconds: float) -> None:
    """Stop a process with all its children, and let it go on."""
    seat.signal_all(signal.SIGSTOP)
    time.sleep(seconds)
    seat.signal_all(signal.SIGCONT)


def freeze_past_the_lease(target: Supervised, chance: random.Random) -> None:
    """Others take its jobs; when it is back it is a zombie that wants to write."""
    freeze(chance.choice(target.workers or target.seats), LEASE + chance.uniform(1.0, 2.0))


def freeze_within_the_lease(target: Supervised, chance: random.Random) -> None:
    freeze(chance.choice(target.seats), LEASE * chance.uniform(0.2, 0.5))


def freeze_child(target: Supervised, chance: random.Random) -> None:
    if children := target.children():
        pid = chance.choice(children)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(LEASE + 1)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _end(target: Supervised, chance: random.Random, seat: Seat, signals: tuple[int, ...]) -> None:
    """Send the signals one after another; the process must end in time, and another one takes its place."""
    process = seat.process  # the seat may have another one as soon as this has ended
    for number in signals:
        process.signal(number)
        time.sleep(chance.uniform(0.1, 1.0))
    if not process.ends(ENDS + SLACK):
        names = ", ".join(signal.Signals(number).name for number in signals)
        target.wrong.append(f"{process.name} did not end within {ENDS + SLACK:g} s after {names}")
        seat.renew()
    seat.revive()


def terminate_twice(target: Supervised, chance: random.Random) -> None:
    """SIGTERM under load, and again before it has ended."""
    _end(target, chance, chance.choice(target.seats), (signal.SIGTERM, signal.SIGTERM))


def interrupt_twice(target: Supervised, chance: random.Random) -> None:
    """Ctrl-C under load, and again before it has ended."""
    _end(target, chance, chance.choice(target.seats), (signal.SIGINT, signal.SIGINT))


def end_cold(target: Supervised, chance: random.Random) -> None:
    """What ends a Celery worker at once, whatever its jobs do."""
    ways = [(signal.SIGQUIT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGQUIT)]
    _end(target, chance, chance.choice(target.workers), chance.choice(ways))


def hang_parent(target: Supervised, chance: random.Random) -> None:
    """A worker's parent stands still for good: its own processes end it, and another worker takes its place."""
    assert isinstance(target, Site)
    seat = chance.choice(target.workers)
    process = seat.process
    process.wait_for(READY, within=ENDS + SLACK)
    noticed = target.mode != "thread"  # gateways that dispatch nothing ping nobody
    seat.hangs = True
    try:
        process.signal(signal.SIGSTOP)
        if not process.ends(HANGS if noticed else LEASE) and noticed:
            target.wrong.append(f"{process.name}: its parent hung for {HANGS:g} s, and its processes did not end it")
    finally:
        if process.code is None:
            seat.renew()
        seat.hangs = False


def stop_namesake(target: Supervised, chance: random.Random) -> None:
    """A second worker by the same command line; the parent of one of the two stands still for a while."""
    assert isinstance(target, Site)
    seat = chance.choice(target.workers)
    other = target.start_namesake(seat)
    try:
        other.wait_for(READY, within=60)
        stopped = chance.choice([seat.process, other])
        stopped.signal(signal.SIGSTOP)
        time.sleep(chance.uniform(LEASE + 1, 12.0))
        stopped.signal(signal.SIGCONT)
    finally:
        other.stop(ENDS)


def switch(target: Supervised, chance: random.Random) -> None:
    assert isinstance(target, Site)
    target.switch(chance)


def messages(target: Supervised, chance: random.Random) -> None:
    """Doubled, late, forged, and for nobody."""
    assert isinstance(target, Site)
    target.ring(chance)
