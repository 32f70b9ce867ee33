"""Passes ids of jobs that are to be cancelled from a worker's parent, which has no store, to its processes."""

from __future__ import annotations

import asyncio
import logging
import os

from executors.control import Control
from tasks.errors import JobgateError, StoreUnavailable

log = logging.getLogger("jobgate.worker")

#: Seconds between two looks into the pipe, and between two tries while the store is away.
INTERVAL = 0.2
#: Bytes of a record; ids are shorter. Writes and reads of whole records are never interleaved (pipe(7)).
_RECORD = 64
_AT_ONCE = 16


class CancelPipe:
    """Each id reaches one process of the worker. Made before any fork."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def put(self, job_id: str) -> bool:
        """Whether the id is on its way: it may be too long to be one of a job, or the pipe full."""
        record = job_id.encode().ljust(_RECORD, b"\0")
        if len(record) > _RECORD:
            return False
        try:
            return os.write(self._writer, record) == _RECORD
        except BlockingIOError:
            return False

    def take(self) -> list[str]:
        """Some of the ids that are there."""
        try:
            found = os.read(self._reader, _AT_ONCE * _RECORD)
        except BlockingIOError:
            return []
        records = (found[start : start + _RECORD] for start in range(0, len(found), _RECORD))
        return [record.rstrip(b"\0").decode(errors="replace") for record in records]


async def cancel_by_pipe(pipe: CancelPipe, control: Control) -> None:
    """Cancels the jobs whose ids come through the pipe, for as long as the process lives."""
    while True:
        await asyncio.sleep(INTERVAL)
        for job_id in pipe.take():
            await _cancel(job_id, control)


async def _cancel(job_id: str, control: Control) -> None:
    while True:
        try:
            done = await control.cancel(job_id)
        except StoreUnavailable:
            await asyncio.sleep(INTERVAL)
        except JobgateError as error:  # it has ended, or there is none
            log.info("job %s: not cancelled by Celery's remote control: %s", job_id, error.detail)
            return
        else:
            log.warning("job %s: cancelled by Celery's remote control (%s)", job_id, done.action)
            return
