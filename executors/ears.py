"""Which Celery workers live, and which of them hear: judged by the registry alone, on this process's own clock.

A worker that shows life may still be deaf: its connection to the broker hangs, and it consumes nothing. So each that
has been silent for a while is rung for by a canary of its own; what reaches one of its processes raises `Worker.heard`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.worker import Worker

#: Seconds between two canaries for a worker whose last one is not answered; one that is lost is no verdict.
REPEAT = 2.0
#: Readings of the registry further apart than this were held up: the workers' silence meanwhile tells nothing of them.
HELD_UP = 1.5


class _Ear:
    """One worker. Moments are those of `time.monotonic`; `called_at` while a canary is unanswered."""

    __slots__ = ("called_at", "calls", "heard", "heard_at", "last_call")

    def __init__(self, now: float) -> None:
        self.heard: dict[str, int] = {}
        self.heard_at = self.last_call = now
        self.called_at: float | None = None
        self.calls = 0

    def rest(self, now: float) -> None:
        self.heard_at, self.called_at, self.calls = now, None, 0


class Ears:
    """`silence`: seconds without a sign of life after which a worker is gone. `answers` counts the readings in which
    one had heard something new."""

    def __init__(self, silence: float, now: float) -> None:
        self._silence = silence
        self._began = self._read_at = now
        self._seen: dict[str, tuple[int, float]] = {}
        #: By instance: two workers of one name answer each for itself.
        self._ears: dict[str, _Ear] = {}
        self._names: dict[str, str] = {}
        self.live: Sequence[Worker] = []
        self.answers = 0

    def read(self, workers: Iterable[Worker], now: float) -> None:
        """Take in the registry: Celery's workers that are not about to end."""
        if now - self._read_at > HELD_UP:
            self._excuse(now - self._read_at)
        self._read_at = now
        found = list(workers)
        self._seen = {worker.owner: self._showed_life(worker, now) for worker in found}
        self.live = [worker for worker in found if now - self._seen[worker.owner][1] < self._silence]
        self._names = {worker.instance: worker.name for worker in self.live}
        self._ears = {instance: self._ears.get(instance) or _Ear(now) for instance in self._names}
        for ear in self._ears.values():
            ear.heard = {owner: number for owner, number in ear.heard.items() if owner in self._seen}
        for worker in self.live:
            self._listen(worker, now)

    def unheard(self, pause: float, now: float) -> list[str]:
        """Returns the instances to ping now: those with an idle slot that got nothing for `pause` seconds."""
        idle = {worker.instance for worker in self.live if worker.busy < worker.slots}
        due = []
        for instance in sorted(idle):
            ear = self._ears[instance]
            since = ear.heard_at if ear.called_at is None else ear.last_call
            if now - since >= (pause if ear.called_at is None else REPEAT):
                ear.called_at = now if ear.called_at is None else ear.called_at
                ear.last_call, ear.calls = now, ear.calls + 1
                due.append(instance)
        return due

    def deaf(self, patience: float, now: float) -> dict[str, str]:
        """Returns instance and name of the workers that live and left more than one ping unanswered for `patience`
        seconds."""
        return {
            instance: self._names[instance]
            for instance, ear in self._ears.items()
            if ear.called_at is not None and ear.calls > 1 and now - ear.called_at >= patience
        }

    def settling(self, now: float) -> bool:
        """Whether it is too early to say that no worker lives."""
        return now - self._began < self._silence

    def forgive(self, now: float) -> None:
        """The broker was away, or lost what it had: that no canary was answered is nobody's fault."""
        for ear in self._ears.values():
            ear.rest(now)

    def _showed_life(self, worker: Worker, now: float) -> tuple[int, float]:
        before = self._seen.get(worker.owner)
        return before if before is not None and before[0] == worker.seen_at else (worker.seen_at, now)

    def _listen(self, worker: Worker, now: float) -> None:
        ear = self._ears[worker.instance]
        known = ear.heard.get(worker.owner)
        ear.heard[worker.owner] = worker.heard
        # A process that is new to us may have heard what others rang: only what it hears from now on is an answer.
        if known is not None and worker.heard > known:
            ear.rest(now)
            self.answers += 1

    def _excuse(self, seconds: float) -> None:
        self._seen = {owner: (seen_at, moment + seconds) for owner, (seen_at, moment) in self._seen.items()}
        for ear in self._ears.values():
            ear.rest(self._read_at + seconds)
