"""For Python programs that are neither gateway nor worker: `connect()` once, then `task.delay(…)`."""

from __future__ import annotations

import atexit
import os
from typing import Any

from executors import assembly
from executors.control import Control
from executors.handles import LoopClient
from executors.loop_thread import LoopThread
from executors.settings import Settings
from executors.watch import Watch
from tasks import handle
from tasks.admission import Admission
from tasks.store.store import JobStore


class Connection:
    """An open way to the record, on a loop thread of its own; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._pid = os.getpid()
        self._loop = LoopThread("jobgate-client")
        try:
            self._store, self._watch = self._loop.call(self._open(settings))
        except BaseException:
            self._loop.stop()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left and let go; does nothing the second time, nor in a process forked since."""
        if self._pid != os.getpid():
            return
        atexit.unregister(self.close)
        handle.bind(None)
        if self._loop.loop.is_running():
            try:
                self._loop.call(self._stop())
            finally:
                self._loop.stop()

    async def _stop(self) -> None:
        await self._watch.stop()
        await self._store.stop()

    async def _open(self, settings: Settings) -> tuple[JobStore, Watch]:
        store = await assembly.open_for(settings, settings.mode, make=False)
        found = assembly.load_tasks(settings)
        watch = Watch(store, 0.005)
        admission = Admission(found, settings.defaults)
        control = Control(store, found, admission, watch, None, settings.cancel_grace)
        handle.bind(LoopClient(control))
        return store, watch


def connect(settings: Settings | None = None) -> Connection:
    """Bind this process to the database that the settings (default: the environment) name.

    Raises ConfigurationError if the database does not exist or has another schema: the gateway makes it.
    """
    connection = Connection(settings or Settings.from_env())
    atexit.register(connection.close)
    return connection
