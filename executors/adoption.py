"""Decides which messages of other programs become jobs: none by default, for a broker does not say who sent what."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from threading import Lock

from msgspec import structs

from tasks.admission import Admission
from tasks.job import NewJob, Submission

log = logging.getLogger("jobgate.worker")

#: Seconds between two log lines about messages that were dropped.
LOG_INTERVAL = 60.0
#: The tag of an adopted job begins so; what follows is the id that its sender knows.
TAG = "message:"
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,80}")


class Adoption:
    """`allowed`: patterns of task names, as JOBGATE_ADOPT gives them. Used by all threads of a worker process."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed
        self._lock = Lock()
        self._dropped = 0
        self._logged_at = -LOG_INTERVAL

    def allows(self, task: str) -> bool:
        return any(fnmatchcase(task, pattern) for pattern in self._allowed)

    def drop(self, task: str, message_id: str) -> None:
        """Counts a message that becomes no job; logs the number once a minute, with the latest task and id."""
        with self._lock:
            self._dropped += 1
            now = time.monotonic()
            if now - self._logged_at < LOG_INTERVAL:
                return
            self._logged_at = now
            number = self._dropped
        log.warning(
            "worker: dropped %d messages that have no job so far, the latest %.100r of task %.100r: other programs may"
            " send only the tasks that JOBGATE_ADOPT lists",
            number,
            message_id,
            task,
        )


def adopted(admission: Admission, message_id: str, wish: Submission) -> NewJob:
    """The job of a message from another program, under an id of our own. A message that comes twice has one job.

    Raises InvalidSubmission or one of its kin.
    """
    plain = message_id if _PLAIN.fullmatch(message_id) else hashlib.sha256(message_id.encode()).hexdigest()
    tagged = structs.replace(wish, tags=[TAG + plain])
    # The key of a caller holds a colon (`name:key`): callers and messages never share one.
    return admission.admit(tagged, idempotency_key=f"message {plain}", fingerprint="")
