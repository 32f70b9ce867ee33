"""What is asked of a run, by the environment: JOBS and FAULTS of each run, SEED, and lists for BROKER, STORE, MODE."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

BROKERS = ("redis", "rabbitmq")
STORES = ("sqlite", "postgresql")
#: `switch` goes between threads, Celery and auto; `plain` is Celery without Jobgate, under the same faults.
MODES = ("thread", "celery", "auto", "switch", "plain")


class Options(NamedTuple):
    jobs: int
    faults: int
    seed: int
    broker: str
    store: str
    mode: str

    @property
    def name(self) -> str:
        if self.mode == "plain":
            return f"plain Celery · {self.broker}"
        ground = self.store if self.mode == "thread" else f"{self.broker} · {self.store}"
        return f"{self.mode} · {ground}"

    @property
    def slug(self) -> str:
        """For the name of a folder."""
        return f"{self.mode}-{self.broker}-{self.store}-{self.seed}"


def read(environ: Mapping[str, str]) -> list[Options]:
    """One for each run that is asked for; lists are separated by commas."""
    jobs, faults = int(environ.get("JOBS", "2600")), int(environ.get("FAULTS", "28"))
    seed = int(environ.get("SEED", "") or random.randrange(1_000_000))
    modes = _chosen(environ, "MODE", MODES, ",".join(MODES))
    brokers = _chosen(environ, "BROKER", BROKERS, "redis,rabbitmq")
    stores = _chosen(environ, "STORE", STORES, "sqlite,postgresql")
    return [
        Options(jobs, faults, seed, broker, store, mode)
        for mode in modes
        for broker in (["none"] if mode == "thread" else brokers)
        for store in (["none"] if mode == "plain" else stores)
    ]


def _chosen(environ: Mapping[str, str], name: str, known: tuple[str, ...], default: str) -> list[str]:
    asked = [word.strip() for word in environ.get(name, default).split(",") if word.strip()]
    wrong = [word for word in asked if word not in known]
    if wrong or not asked:
        raise SystemExit(f"chaos: {name} takes {', '.join(known)}; got {', '.join(wrong) or 'nothing'}")
    return asked
