"""Whether the database takes writes, found by writing: a full disk or a read-only server still answers every read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid

from tasks.errors import JobgateError
from tasks.store.backend import Backend, Query

#: Seconds for which the outcome of a write probe holds, however many ask.
PROBE_INTERVAL = 3.0
#: Seconds after which a write probe without an answer counts as failed.
PROBE_TIMEOUT = 5.0
#: Bytes of a probe's row, twice that as text: more than a page of either database, so that it needs space of its own.
_FILLER = 5_000

# The row leaves in the transaction that brought it. The space that it took is free for jobs until the next probe: if
# they have used it up, the probe finds that there is no more.
_PUT = "INSERT INTO probes (name, filler) VALUES (:name, :filler)"
_REMOVE = "DELETE FROM probes WHERE name = :name"


class StoreHealth:
    """Of one process and event loop: what a write probe found, and how often reads and writes failed."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        #: Reads and writes of this process that failed because the database did not answer or could not serve them.
        self.errors = {"read": 0, "write": 0}
        self._probe: asyncio.Task[str | None] | None = None
        self._started_at = 0.0
        self._ended_at = 0.0

    def failed(self, operation: str) -> None:
        """Counts a failed "read" or "write"; after a write, a probe that had succeeded before holds no longer."""
        self.errors[operation] += 1
        if operation == "write" and self._ended_well():
            self._ended_at = float("-inf")

    async def write_problem(self) -> str | None:
        """Why the database takes no writes, None if it does. Callers at the same time share one probe."""
        if self._probe is None or (self._probe.done() and time.monotonic() - self._ended_at >= PROBE_INTERVAL):
            self._started_at = time.monotonic()
            self._probe = asyncio.create_task(self._write(), name="jobgate-write-probe")
        probe, left = self._probe, self._started_at + PROBE_TIMEOUT - time.monotonic()
        await asyncio.wait([probe], timeout=max(0.0, left))
        if not probe.done():
            return f"a write was not answered within {PROBE_TIMEOUT:g} s"
        return "this process is closing its store" if probe.cancelled() else probe.result()

    async def stop(self) -> None:
        """Cancels a probe that is not answered."""
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe

    def _ended_well(self) -> bool:
        probe = self._probe
        return probe is not None and probe.done() and not probe.cancelled() and probe.result() is None

    async def _write(self) -> str | None:
        row = {"name": uuid.uuid4().hex, "filler": os.urandom(_FILLER).hex()}
        try:
            await self._backend.transact([Query(_PUT, row), Query(_REMOVE, {"name": row["name"]})])
        except JobgateError as error:
            return str(error)
        finally:
            self._ended_at = time.monotonic()
        return None
