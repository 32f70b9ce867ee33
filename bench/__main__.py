"""The whole run: a place after the other, each measured in rounds, then the table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from bench import figures, waiting
from bench.ground import Ground, ground
from bench.options import Options, parse
from bench.place import Place, Wanted, concurrency, limit, place
from bench.processes import ROOT, pss, python
from bench.sheet import Sheet

#: Jobs of a round of batches in thread mode, and accepted only.
SETTLED = {"sqlite": 50_000, "postgresql": 25_000}
ACCEPTED = 20_000
QUEUES = [f"queue{n}" for n in range(10)]
_PACKAGES = ("starlette", "uvicorn", "uvloop", "sqlalchemy", "asyncpg", "celery", "redis")


#: For bodies that do nothing: as many as are claimed and settled at once.
MANY_SLOTS = 128


class Bench:
    """One run."""

    def __init__(self, options: Options, sheet: Sheet, site: Ground) -> None:
        self._options = options
        self._sheet = sheet
        self._site = site

    def run(self) -> None:
        for store in self._options.stores:
            if "thread" in self._options.modes:
                self._guarded(self._thread, store)
        pools = [mode for mode in self._options.modes if mode != "thread"]
        for pool in pools:
            self._guarded(self._celery, pool, self._options.stores[0], pool == pools[0])
        for store in self._options.stores:
            for part in (self._metrics, self._memory, self._waiting):
                self._guarded(part, store)

    def _guarded(self, part: Callable[..., None], *given: object) -> None:
        """A part that cannot be measured must not cost the others their figures."""
        started = time.monotonic()
        try:
            part(*given)
        except SystemExit as error:
            print(error, file=sys.stderr)
        name = " ".join(map(str, (part.__name__.strip("_"), *given)))
        print(f"  {name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    def _thread(self, store: str) -> None:
        if not self._asked("submit", "batches", "idle"):
            return
        with place(self._site, Wanted(store)) as gateway:
            self._idle(gateway)
            self._submit(gateway, drain=True)
            for _ in self._rounds("batches"):
                figures.batches(self._sheet, gateway, SETTLED[store])
        if self._asked("batches"):
            with place(self._site, Wanted(store, slots=MANY_SLOTS)) as gateway:
                for _ in self._rounds("batches"):
                    figures.batches(self._sheet, gateway, SETTLED[store])

    def _celery(self, pool: str, store: str, first: bool) -> None:
        """Submitting leaves a backlog that a worker needs minutes for: it comes last, and once."""
        if not self._asked("submit", "idle", "celery"):
            return
        with place(self._site, Wanted(store, pool)) as gateway:
            self._idle(gateway)
            for _ in self._rounds("celery"):
                rate = figures.end_to_end(self._sheet, gateway, self._options.jobs)
                plain = self._plain(pool)
                self._sheet.add("plain Celery, jobs/s", f"celery {pool}", plain)
                self._sheet.add("end to end / plain Celery", gateway.label, rate / plain)
            if first:
                self._submit(gateway, drain=False)
            for _ in self._rounds("celery") if first else ():
                figures.accepted(self._sheet, gateway, ACCEPTED)

    def _idle(self, gateway: Place) -> None:
        for _ in self._rounds("idle"):
            figures.idle(self._sheet, gateway, min(2.0, self._options.seconds))

    def _submit(self, gateway: Place, drain: bool) -> None:
        with limit(self._site.folder) as bare:
            for _ in self._rounds("submit"):
                figures.submit(self._sheet, gateway, bare, self._options.seconds, drain)

    def _plain(self, pool: str) -> float:
        """Jobs a second of plain Celery, with a worker and a Redis of its own."""
        with ExitStack() as last:
            broker, _ = self._site.redis(last)
            environ = {"BENCH_BROKER": broker}
            command = [sys.executable, "-m", "celery", "-A", "bench.plain_celery", "worker", "--loglevel=WARNING"]
            command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
            worker = self._site.start("plain", [*command, "-P", pool, "-c", concurrency(pool)], environ)
            last.callback(worker.stop)
            publish = python("publisher", "bench.plain_celery", self._site.folder, environ, str(self._options.jobs))
            last.callback(publish.stop)
            return self._options.jobs / float(publish.first_line(300) or "inf")

    def _metrics(self, store: str) -> None:
        if self._asked("metrics"):
            environ = {"TASK_MODULES": "bench.crowd", "JOBGATE_QUEUES": ",".join(QUEUES)}
            with place(self._site, Wanted(store, environ=environ)) as gateway:
                for _ in self._rounds("metrics"):
                    figures.scrapes(self._sheet, gateway, QUEUES)

    def _memory(self, store: str) -> None:
        if self._asked("memory"):
            with place(self._site, Wanted(store)) as gateway:
                self._sheet.add("memory idle, MiB", gateway.label, pss(gateway.process))
                for _ in range(2):
                    figures.run_batches(gateway, 50_000)
                self._sheet.add("memory after 100,000 jobs, MiB", gateway.label, pss(gateway.process))

    def _waiting(self, store: str) -> None:
        if self._asked("waiting"):
            waiting.measure(self._sheet, self._site, store, self._options.rounds)

    def _asked(self, *parts: str) -> bool:
        return any(part in self._options.only for part in parts)

    def _rounds(self, part: str) -> Iterator[int]:
        return iter(range(self._options.rounds if self._asked(part) else 0))


def surroundings() -> str:
    """One line on what this was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    head = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores shared by load, gateway, workers, broker and database; load before {load:.1f}; "
        f"Python {platform.python_version()}; {packages}; commit {commit or 'unknown'}"
    )


def main() -> int:
    options, sheet, started = parse(), Sheet(), time.monotonic()
    print(surroundings(), flush=True)
    with ground() as site:
        Bench(options, sheet, site).run()
    print(f"\n{sheet.table()}\n\n{time.monotonic() - started:.0f} s")
    if options.json:
        document = {"surroundings": surroundings(), "figures": sheet.plain()}
        Path(options.json).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
