"""One look at a deployment: what can be read of settings, record, broker and host, and what it means."""

from __future__ import annotations

import asyncio
import importlib
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from executors.audit import audit
from executors.broker_audit import broker_audit
from executors.complaint import complaints
from executors.drift import drift
from executors.facts import BrokerFacts, Facts, HostFacts, WireFacts
from executors.finding import Diagnosis, Finding, worst_first
from executors.schedule_audit import schedule_audit
from executors.settings import Settings
from executors.silence import silence
from tasks.registry import Registry
from tasks.store.inventory import inventory_of
from tasks.store.reader import Reader

#: Where Linux says what lies where.
_MOUNTS = Path("/proc/self/mountinfo")
#: Seconds that the broker may take altogether.
_PATIENCE = 15.0


def examine(facts: Facts) -> list[Finding]:
    """All that disagrees, worst first; pure."""
    return worst_first(
        [
            *drift(facts),
            *silence(facts),
            *audit(facts),
            *broker_audit(facts),
            *complaints(facts),
            *schedule_audit(facts),
        ]
    )


class Doctor:
    """Examines one deployment, as often as it is asked, one look at a time.

    `queues` are those that jobs may name; without a `store` the record is not looked at.
    """

    def __init__(self, settings: Settings, registry: Registry, queues: Sequence[str], store: Reader | None) -> None:
        self._settings = settings
        self._registry = registry
        self._queues = queues
        self._store = store
        self._turn = asyncio.Lock()

    async def diagnose(self) -> Diagnosis:
        async with self._turn:
            return await self._look()

    async def _look(self) -> Diagnosis:
        settings, store = self._settings, self._store
        not_looked_at: dict[str, str] = {}
        broker, wire = await _look_at_broker(settings, self._queues, not_looked_at)
        record, skew = None, None
        if store is None:
            not_looked_at["record"] = "the database cannot be read; see the findings"
        else:
            before = time.time()
            record = await inventory_of(store)
            skew = _skew(before, record.now)
        facts = Facts(
            settings=settings,
            registry=self._registry,
            queues=self._queues,
            host=_host(settings, skew),
            record=record,
            broker=broker,
            wire=wire,
        )
        looked_at = ("settings", "host", "record", "broker")
        return Diagnosis(
            findings=examine(facts),
            looked_at=[what for what in looked_at if what not in not_looked_at],
            not_looked_at=not_looked_at,
        )


async def _look_at_broker(
    settings: Settings, queues: Sequence[str], not_looked_at: dict[str, str]
) -> tuple[BrokerFacts | None, WireFacts | None]:
    if not settings.use_celery:
        not_looked_at["broker"] = "thread mode has none"
        return None, None
    try:
        return await asyncio.wait_for(asyncio.to_thread(_probe, settings, queues), _PATIENCE)
    except TimeoutError:
        not_looked_at["broker"] = f"it did not say all within {_PATIENCE:.0f} s"
        return None, None


def _probe(settings: Settings, queues: Sequence[str]) -> tuple[BrokerFacts, WireFacts]:
    """Off the loop: it loads Celery, by name, and a broker that is away takes its time to say so."""
    probe: Any = importlib.import_module("executors.celery_probe")
    return probe.look_at_broker(settings, queues), probe.look_at_wire(settings, queues)


def _host(settings: Settings, skew: int | None) -> HostFacts:
    # A wrong URL is a finding of its own.
    path = Path(urlsplit(settings.database_url).path[1:]) if settings.database_url.startswith("sqlite") else None
    threads = sum(thread.name == "jobgate-slot" for thread in threading.enumerate())
    return HostFacts(
        skew=skew,
        filesystem=filesystem_of(path.resolve(), _mounts()) if path else None,
        sqlite_mode=_mode(path) if path else None,
        slot_threads=threads,
        slots=settings.threads if threads else 0,
    )


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _skew(before: float, database: int) -> int:
    """Milliseconds that our clock is ahead; nothing while the database's moment lies within those of the question."""
    first, last = before * 1000, time.time() * 1000
    return 0 if first <= database <= last else round(first - database if database < first else last - database)


def _mounts() -> str:
    try:
        return _MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def filesystem_of(path: Path, mountinfo: str) -> str | None:
    """The kind of file system that `path` lies on, by the text of /proc/self/mountinfo (proc(5))."""
    best = max(
        _mounted(mountinfo), key=lambda mount: len(mount[0].parts) if _holds(mount[0], path) else 0, default=None
    )
    return best[1] if best is not None and _holds(best[0], path) else None


def _mounted(mountinfo: str) -> Iterator[tuple[Path, str]]:
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        if len(head.split()) > 4 and tail:
            yield Path(head.split()[4].replace("\\040", " ")), tail.split()[0]


def _holds(mount: Path, path: Path) -> bool:
    return mount == path or mount in path.parents
