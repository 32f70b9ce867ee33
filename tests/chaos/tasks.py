"""The jobs of the chaos runs: each says in a ledger when it begins and when it has done its work."""

from __future__ import annotations

import os
import time

from tasks import Context, Retry, task
from tests.support.ledger import note

#: Losses are the faults' doing here: only `poison` shall ever use its budget up.
MANY = 1000


def line(word: str, key: str, attempt: int) -> str:
    return f"{word} {key} {attempt} {os.getpid()} {time.time():.3f}"


@task(name="chaos.work", bind=True, max_retries=3, max_losses=MANY)
def work(self: Context, path: str, key: str, seconds: float = 0.0, failures: int = 0) -> list[object]:
    """Fails `failures` times, then returns its key and the attempt that did it."""
    note(path, line("start", key, self.attempt))
    time.sleep(seconds)
    if self.retries < failures:
        raise Retry("not yet", 0)
    note(path, line("end", key, self.attempt))
    return [key, self.attempt]


@task(name="chaos.limited", max_retries=3, max_losses=MANY, concurrency=4, bind=True)
def limited(self: Context, path: str, key: str, seconds: float = 0.0, failures: int = 0) -> list[object]:
    """The same behind a limit of the whole system."""
    note(path, line("start", key, self.attempt))
    time.sleep(seconds)
    note(path, line("end", key, self.attempt))
    return [key, self.attempt]


@task(name="chaos.broken", bind=True, max_retries=0, max_losses=MANY)
def broken(self: Context, path: str, key: str) -> None:
    """Fails for good."""
    note(path, line("start", key, self.attempt))
    raise ValueError("broken")


@task(name="chaos.told", bind=True, max_retries=3, max_losses=MANY)
def told(self: Context, path: str, key: str) -> list[object]:
    """Reports on its way and fails once: every statement that a job can need."""
    note(path, line("start", key, self.attempt))
    self.progress(1, 2)
    self.log("half way")
    if not self.retries:
        raise Retry("not yet", 0)
    note(path, line("end", key, self.attempt))
    return [key, self.attempt]
