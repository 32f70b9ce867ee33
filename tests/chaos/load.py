"""The clients of a run: some submit until they are answered, one watches what it is told of each job."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tests.support.ledger import Ledger


class Unanswered(Exception):
    """Nobody can say whether the request was heard: it is sent again."""


class Wish(NamedTuple):
    """A job to be asked for. `kind` says how it shall end."""

    key: str
    kind: str
    seconds: float = 0.0
    delay: float = 0.0


class Seen(NamedTuple):
    """What a job's status was said to be; `at` is the time of day."""

    status: str
    at: float


class Client(Protocol):
    """How a system is asked; raises Unanswered."""

    #: Whether a submission may be sent again without becoming another job.
    idempotent: bool

    def submit(self, wish: Wish, patience: float) -> str: ...
    def cancel(self, job_id: str) -> str: ...
    def status(self, job_id: str) -> str: ...


#: Clients that submit, and how many jobs they may be ahead of the bodies.
CLIENTS = 6
AHEAD = 150
FINAL = {"SUCCESS", "FAILURE", "REVOKED"}
#: How many jobs of a hundred are of a kind.
KINDS = {"quick": 75, "slow": 8, "limited": 5, "flaky": 5, "broken": 3, "delayed": 2, "cancelled": 2}


def wishes(number: int, chance: random.Random) -> list[Wish]:
    """Mostly quick jobs; some run for seconds or behind a limit, fail once or for good, are delayed, or cancelled."""

    def wish(n: int) -> Wish:
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        seconds = chance.uniform(0.3, 3.0) if kind in ("slow", "cancelled") else chance.choice([0.0, 0.0, 0.01, 0.05])
        return Wish(f"{kind}-{n}", kind, seconds, chance.uniform(0.5, 4.0) if kind == "delayed" else 0.0)

    return [wish(n) for n in range(number)]


class Load:
    """`rate` jobs a second, and one client that looks. A system that is AHEAD jobs behind is given less: a line that
    only grows would tell of the machine, and not of the faults."""

    def __init__(self, make: Callable[[], Client], wanted: list[Wish], rate: float, seed: int, ledger: Ledger) -> None:
        self._make = make
        self._wanted = list(reversed(wanted))
        self._number = len(wanted)
        self._rate = rate
        self._ledger = ledger
        self._chance = random.Random(seed)
        self.accepted: dict[str, str] = {}
        self.refused: list[str] = []
        self.cancels: dict[str, Seen] = {}
        self.first_final: dict[str, Seen] = {}
        self.changed: list[str] = []
        self.doubled: list[str] = []
        #: When a submission began, and how long its answer took, in seconds; of those answered at once.
        self.latencies: list[tuple[float, float]] = []
        self.retries = 0
        self.looks = 0
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._sent = self._ended = 0
        self._counted_at = 0.0
        self._submitters = [threading.Thread(target=self._submit_all, daemon=True) for _ in range(CLIENTS)]
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def progress(self) -> float:
        """Which part has been submitted."""
        return 1 - len(self._wanted) / max(1, self._number)

    def start(self) -> None:
        for thread in (*self._submitters, self._watcher):
            thread.start()

    def join(self, timeout: float) -> bool:
        """Whether all have been submitted."""
        ends = time.monotonic() + timeout
        for thread in self._submitters:
            thread.join(max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._submitters)

    def stop(self) -> None:
        self.over.set()
        self._watcher.join(30)

    def _next(self) -> Wish | None:
        with self._lock:
            if not self._wanted or self.over.is_set():
                return None
            wish = self._wanted.pop()
            due = self._began + self._sent / self._rate
            self._sent += 1
        time.sleep(max(0.0, due - time.monotonic()))
        if len(self.accepted) - self._done() > AHEAD:
            time.sleep(1.0)
        return wish

    def _done(self) -> int:
        """How many bodies have come to their end, nearly: it is counted once a second."""
        with self._lock:
            if time.monotonic() - self._counted_at > 1.0:
                self._counted_at = time.monotonic()
                self._ended = sum(line.startswith(("end", "start broken")) for line in self._ledger.lines())
        return self._ended

    def _submit_all(self) -> None:
        client = self._make()
        while (wish := self._next()) is not None:
            self._submit(client, wish)

    def _submit(self, client: Client, wish: Wish) -> None:
        first = True
        while not self.over.is_set():
            began = time.monotonic()
            try:
                job_id = client.submit(wish, 5.0)
            except Unanswered:
                first = False
                self.retries += 1
                time.sleep(0.1)
                continue
            except PermissionError:  # the system says no, and means it
                self.refused.append(wish.key)
                return
            if first:
                self.latencies.append((time.time(), time.monotonic() - began))
            self._answered(client, wish, job_id)
            return

    def _answered(self, client: Client, wish: Wish, job_id: str) -> None:
        self.accepted[wish.key] = job_id
        try:
            if client.idempotent and int(wish.key.rpartition("-")[2]) % 50 == 0 and client.submit(wish, 5.0) != job_id:
                self.doubled.append(wish.key)
            if wish.kind == "cancelled":
                action = client.cancel(job_id)
                self.cancels[wish.key] = Seen(action, time.time())
        except Unanswered:
            pass

    def _watch(self) -> None:
        client = self._make()
        while not self.over.wait(0.02):
            key = self._pick()
            if key is None:
                continue
            try:
                status = client.status(self.accepted[key])
            except Unanswered:
                continue
            self.looks += 1
            self._compare(key, status)

    def _pick(self) -> str | None:
        known = list(self.accepted.copy())
        if not known:
            return None
        # The latest half of the time: most is to be seen of them.
        return self._chance.choice(known[-50:] if self._chance.random() < 0.5 else known)

    def _compare(self, key: str, status: str) -> None:
        earlier = self.first_final.get(key)
        if earlier is not None and status != earlier.status:
            if not any(words.startswith(f"{key}:") for words in self.changed):  # a job is told wrongly once
                self.changed.append(f"{key}: {earlier.status}, then {status}")
        elif status == "GONE":
            self.changed.append(f"{key}: accepted, then unknown")
        elif earlier is None and status in FINAL:
            self.first_final[key] = Seen(status, time.time())


def quantile(values: list[float], share: float) -> float:
    """0 for no values."""
    ordered: list[Any] = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) if ordered else 0.0
