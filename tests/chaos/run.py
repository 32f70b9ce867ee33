"""One run: a stage, a system on it, clients, faults, quiet, and then the books."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.record import Record
from tests.chaos.faults import Nemesis, of_ground, of_processes
from tests.chaos.http_client import HttpClient
from tests.chaos.load import Load, wishes
from tests.chaos.options import Options
from tests.chaos.record import OPEN, Books
from tests.chaos.report import Outcome
from tests.chaos.site import Site
from tests.chaos.stage import Stage
from tests.support.ledger import Ledger

#: Seconds that a job may stay open after the last fault.
QUIET = 60.0
#: Seconds that a fault and the pause after it take, roughly, with two hands at work: what the pace is set by.
PACE = 2.2
#: What the modes of a run switch between.
_BETWEEN = {"thread": ["thread"], "celery": ["celery"], "auto": ["auto"], "switch": ["thread", "celery", "auto"]}


def run(options: Options) -> Outcome:
    """Under the product; for plain Celery see `plain.run`."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jobgate-chaos-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as somebody else
        stage = Stage(folder, options.broker, options.store)
        stage.wire_store()
        try:
            return _on(stage, folder, options, began)
        finally:
            stage.stop()


def _on(stage: Stage, folder: Path, options: Options, began: float) -> Outcome:
    ledger, wrong = Ledger(folder / "ledger"), list[str]()
    chance = random.Random(options.seed)
    site: Site

    def client() -> HttpClient:
        return HttpClient(site.ports, str(ledger), wrong)

    load = Load(client, wishes(options.jobs, chance), pace(options), options.seed, ledger)
    site = Site(stage, folder, _BETWEEN[options.mode], lambda: list(load.accepted.values()))
    hands = [of_processes(options.mode), of_ground(options.broker, options.store)]
    nemesis = Nemesis(site, hands, options.faults, options.seed, load.progress)
    try:
        site.wait()
        calm(load, nemesis)
        quiet_after = until_quiet(stage.record_url, site.supervise, nemesis)
        load.stop()
        books = Books(stage.record_url, load, ledger, site.logs())
    finally:
        site.stop()
        if kept := os.environ.get("LOGS"):
            shutil.copytree(folder, Path(kept) / options.slug, ignore=_but_logs, dirs_exist_ok=True)
    seconds = time.monotonic() - began
    wrong += [*site.wrong, *(words for seat in site.seats for words in seat.left_dead)]
    return Outcome(options, books.verdict(), nemesis.done, seconds, quiet_after, nemesis.broken, wrong)


def _but_logs(_: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".log") and name != "ledger"]


def pace(options: Options) -> float:
    """Jobs a second, so that jobs and faults come to an end together."""
    return max(5.0, options.jobs / max(1.0, options.faults * PACE))


def calm(load: Load, nemesis: Nemesis) -> None:
    """Until all faults are over and all has been submitted; the quiet begins then."""
    load.start()
    nemesis.start()
    nemesis.join()
    if not load.join(300):
        print("chaos: not all jobs could be submitted within 300 s after the last fault", file=sys.stderr)
    nemesis.ended_at = time.time()


def until_quiet(url: str, supervise: Callable[[], None], nemesis: Nemesis) -> float:
    """Seconds after the last fault until nothing was open any more, or QUIET."""
    ends = max(nemesis.ended_at, time.time()) + QUIET
    with Record(url) as record:
        while time.time() < ends:
            supervise()  # as a unit does at any time
            with suppress(OSError):
                if not record.execute(OPEN)[0][0]:
                    break
            time.sleep(0.1)
    return time.time() - nemesis.ended_at
