"""`python -m tests.chaos.simulate`: RUNS worlds from SEED on; one, and its story, if only SEED is given."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from tasks.store.backend import parse_url
from tasks.store.migrate import migrate
from tests.chaos.simulation import BEGINNING, CELERY, MIXED, SimulatedDoorbell, Story
from tests.chaos.virtual import VirtualLoop, VirtualThread


class Theatre:
    """A place for stories, one after the other: an empty database to copy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.db"
        asyncio.run(migrate(parse_url(f"sqlite:///{self._template}")))

    def play(self, seed: int, kinds: Sequence[str] = MIXED) -> tuple[list[str], list[str]]:
        """What went wrong in the world of this seed, and what had been done in it."""
        path = self._folder / f"{seed}.db"
        shutil.copy(self._template, path)
        loop = VirtualLoop()
        try:
            with _on(loop):
                return loop.run_until_complete(_play(str(path), seed, kinds))
        finally:
            loop.close()
            for part in self._folder.glob(f"{seed}.db*"):
                part.unlink()


async def _play(path: str, seed: int, kinds: Sequence[str]) -> tuple[list[str], list[str]]:
    story = Story(path, seed, kinds)
    try:
        return await story.tell(), story.world.story
    finally:
        story.close()


@contextlib.contextmanager
def _on(loop: VirtualLoop) -> Iterator[None]:
    """The product's clocks, threads and doorbell are the world's."""
    clock: Any = SimpleNamespace(
        monotonic=loop.time, perf_counter=loop.time, time=lambda: BEGINNING / 1000 + loop.time(), sleep=None
    )
    with contextlib.ExitStack() as stage:
        for module in [module for name, module in sys.modules.items() if name.startswith("executors.")]:
            if getattr(module, "time", None) is time:
                stage.enter_context(patch.object(module, "time", clock))
        threads = importlib.import_module("executors.thread_executor")
        loops = importlib.import_module("executors.body_loops")
        stage.enter_context(patch.object(loops, "LoopThread", VirtualThread))
        stage.enter_context(patch.object(threads, "Thread", lambda **_: SimpleNamespace(start=lambda: None)))
        stage.enter_context(
            patch.object(importlib.import_module("executors.celery_executor"), "Doorbell", SimulatedDoorbell)
        )
        # A process that has gone is known to have; one that stands still is not.
        yield


def main() -> int:
    logging.disable(logging.CRITICAL)
    seed = int(os.environ.get("SEED", "") or random.randrange(1_000_000_000))
    runs = int(os.environ.get("RUNS", "") or (1 if "SEED" in os.environ else 200))
    broken, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jobgate-simulation-") as folder:
        theatre = Theatre(Path(folder))
        for each in range(seed, seed + runs):
            found, story = theatre.play(each, MIXED if each % 2 else CELERY)
            broken += bool(found)
            if found or runs == 1:
                print("\n".join([f"SEED={each}", *(story if runs == 1 else ()), *found]), flush=True)
    print(f"{runs} worlds from SEED={seed}, {broken} of them broken, {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
