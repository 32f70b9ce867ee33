"""Gives each Celery worker a node name of its own: `celery@host`, then `celery.2@host`, `celery.3@host` …"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import sys
from collections.abc import Iterator
from itertools import count

from executors.identity import is_dead
from executors.settings import Settings
from tasks.errors import JobgateError
from tasks.job import Mode
from tasks.store.store import open_store

log = logging.getLogger("jobgate.worker")


class WorkerName:
    """Reserves a name among the workers of one job database.

    Workers of one host that start at the same moment are kept apart by an abstract Unix socket, which Linux frees with
    the process; workers of other hosts, and of systems without such sockets, by the worker registry.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock: socket.socket | None = None

    def reserve(self, wanted: str, instance: str) -> str:
        """Returns `wanted`, or the first numbered form of it that no other live worker has."""
        taken = self._taken(instance)
        name = next(name for name in _forms(wanted) if name not in taken and self._lock_name(name))
        if name != wanted:
            log.warning("worker: another live worker is named %s; this one is named %s", wanted, name)
        return name

    def release(self) -> None:
        """Lets other workers of this host have the name."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def _taken(self, instance: str) -> set[str]:
        try:
            return asyncio.run(self._registered(instance))
        except JobgateError as error:
            log.warning("worker: the names of other hosts' workers cannot be read now: %s", error)
            return set()

    async def _registered(self, instance: str) -> set[str]:
        settings = self._settings
        store = await open_store(settings.database_url, Mode.CELERY, synchronous=settings.sqlite_synchronous)
        try:
            found = await store.workers()
        finally:
            await store.stop()
        return {worker.name for worker in found if worker.instance != instance and not is_dead(worker.owner)}

    def _lock_name(self, name: str) -> bool:
        if sys.platform != "linux":
            return True
        scope = hashlib.sha256(f"{self._settings.database_url} {name}".encode()).hexdigest()
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0jobgate/{scope}")
        except OSError:
            lock.close()
            return False
        self._lock = lock
        return True


def _forms(name: str) -> Iterator[str]:
    node, _, host = name.partition("@")
    yield name
    yield from (f"{node}.{n}@{host}" for n in count(2))
