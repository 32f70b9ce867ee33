"""The product's processes under faults, and a supervisor that starts again what has died."""

from __future__ import annotations

import os
import random
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock

from celery import Celery

from executors.celery_doorbell import UNKNOWN, Doorbell, Ring
from tests.chaos.stage import Stage
from tests.support.processes import Process, clean_environment, python
from tests.support.servers import free_port

#: Seconds. Short, so that many faults fit into a minute.
LEASE = 2.0
GRACE = 2.0
_TIMINGS = {"JOBGATE_LEASE": f"{LEASE:g}", "JOBGATE_CANCEL_GRACE": "1", "JOBGATE_DRAIN_TIMEOUT": f"{GRACE:g}"}

#: The one exit code after which the shipped units do not start a process again, see deploy/systemd.
LEFT_DEAD = 2

#: Processes of a run: two gateways that share the record; two workers with so many children each.
DOORS = 2
WORKERS = 2
CHILDREN = 3


class Seat:
    """A place for one process after the other; `start` makes the next one."""

    def __init__(self, name: str, start: Callable[[str], Process]) -> None:
        self.name = name
        self._make = start
        self._made = 0
        self._turn = Lock()
        self.process = self._next()
        #: Its parent is stopped and stays so: nobody else may let it go on.
        self.hangs = False
        #: Exit codes after which the shipped units leave a process dead.
        self.left_dead: list[str] = []

    def _next(self) -> Process:
        self._made += 1
        return self._make(f"{self.name}-{self._made}")

    @property
    def dead(self) -> bool:
        return self.process.code is not None

    def signal(self, number: int) -> None:
        """To its process alone."""
        self.process.signal(number)

    def signal_all(self, number: int) -> None:
        """To the process and its children, together."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def revive(self) -> None:
        """Another process in its place, if this one has ended; what is left of it is killed."""
        with self._turn:
            if self.dead:
                if self.process.code == LEFT_DEAD:
                    self.left_dead.append(f"{self.process.name} exited with {LEFT_DEAD}: its unit leaves it dead")
                self.process.stop()
                self.process = self._next()

    def renew(self) -> None:
        """Kill what is there, and put another process in its place."""
        self.signal_all(signal.SIGKILL)
        self.process.ends(10)
        self.revive()


class Supervised:
    """Processes of one system, and the ground they stand on."""

    workers: list[Seat]

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        #: What no process may do, whatever is done to it.
        self.wrong: list[str] = []

    @property
    def seats(self) -> list[Seat]:
        raise NotImplementedError

    def children(self) -> list[int]:
        return [pid for seat in self.workers for pid in seat.process.children()]

    def supervise(self) -> None:
        """Start again what has died."""
        for seat in self.seats:
            seat.revive()

    def stop(self) -> None:
        for seat in self.seats:
            seat.signal_all(signal.SIGCONT)
            seat.process.stop(10)

    def logs(self) -> Iterator[str]:
        for log in sorted(self.folder.glob("*.log")):
            yield log.read_text(errors="replace")


class Site(Supervised):
    """`modes` are what USE_CELERY is switched between; `known` tells the ids of accepted jobs."""

    def __init__(self, stage: Stage, folder: Path, modes: list[str], known: Callable[[], list[str]]) -> None:
        super().__init__(stage, folder)
        self.known = known
        self.modes = modes
        self.mode = modes[0]
        self.ports = [free_port() for _ in range(DOORS)]
        self.doors = [
            Seat(f"gateway{n}", lambda name, port=port: self._door(name, port)) for n, port in enumerate(self.ports)
        ]
        workers = WORKERS if set(modes) - {"thread"} else 0
        self.workers = [Seat(f"worker{n}", self._worker) for n in range(workers)]

    @property
    def seats(self) -> list[Seat]:
        return [*self.doors, *self.workers]

    def wait(self) -> None:
        """Until all have said that they are there."""
        for seat in self.seats:
            seat.process.wait_for("Jobgate (serves|worker)", within=60)

    def ring(self, chance: random.Random) -> None:
        """Again for jobs that wait, run or have ended; for nobody; and a stranger's message that makes no sense."""
        known = self.known()
        ids = [*chance.sample(known, min(20, len(known))), str(uuid.uuid4()), "not-an-id"]
        bell = Doorbell(self.stage.broker_url, lambda: None)
        bell.start()
        bell.ring([Ring(job_id, chance.choice(["chaos.work", UNKNOWN]), "celery") for job_id in ids * 3])
        bell.stop()
        with suppress(Exception):  # the broker may be away just now
            app = Celery("stranger", broker=self.stage.broker_url, set_as_current=False)
            with app.connection_for_write() as connection:
                app.send_task(
                    "chaos.work", ["no", "such", "arguments", "at", "all"], connection=connection, retry=False
                )

    def switch(self, chance: random.Random) -> None:
        """Each gateway is asked to end, and comes back in the other mode."""
        self.mode = next(mode for mode in chance.sample(self.modes, len(self.modes)) if mode != self.mode)
        for seat in self.doors:
            seat.signal(signal.SIGTERM)
            seat.process.ends(GRACE + 15)
            seat.renew()

    def _environ(self, mode: str) -> dict[str, str]:
        carrier = {
            "USE_CELERY": {"thread": "0", "celery": "1", "auto": "auto"}[mode],
            "JOBGATE_THREADS": str(2 * CHILDREN),
        }
        if mode != "thread":
            carrier |= {"CELERY_BROKER_URL": self.stage.broker_url, "CELERY_CONCURRENCY": str(CHILDREN)}
        given = {"DATABASE_URL": self.stage.database_url, "TASK_MODULES": "tests.chaos.tasks"}
        return clean_environment(**_TIMINGS, **given, **carrier)

    def _door(self, name: str, port: int) -> Process:
        environ = {**self._environ(self.mode), "PORT": str(port)}
        return Process(name, python("-m", "gateway"), environ, self.folder)

    def start_namesake(self, seat: Seat) -> Process:
        """Start a worker by the command line of another one."""
        name = seat.process.name
        return self._worker(f"{name}-namesake", name)

    def _worker(self, name: str, hostname: str = "") -> Process:
        mode = next(mode for mode in self.modes if mode != "thread")
        command = python("-m", "executors.celery_worker", f"--hostname={hostname or name}@%h")
        return Process(name, command, self._environ(mode), self.folder)
