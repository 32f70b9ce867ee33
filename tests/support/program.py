"""A program of a user's: no gateway, no worker. It tells on one line of JSON what it saw."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from executors.client import connect
from tasks import AsyncResult, Handle
from tasks.errors import ConfigurationError, InvalidArguments, JobFailed, WaitTimeout
from tests.support.tasks import add, add_async, fail_slowly, nap_async, throw, write_note


def main(ledger: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    try:
        add.delay(1)
    except ConfigurationError as error:
        told["unbound"] = type(error).__name__
    with connect():
        handles = [add.delay(1, 2), add_async.delay(10, y=20), add.apply_async((100,), {"y": 200}, priority=9)]
        told["results"] = [handle.get(timeout=20) for handle in handles]
        told["status"] = str(handles[0].status)
        slow = nap_async.apply_async((0.5,))
        told["ready"] = [slow.ready()]
        slow.get(timeout=20)
        told["ready"].append(slow.ready())
        told |= _sorrows()
        told["celery"] = _in_celerys_words(handles[0])
        noted = write_note.delay(ledger, "from a program")
        noted.get(timeout=20)
        told["id"] = noted.id
    return told


def _in_celerys_words(done: Handle) -> list[Any]:
    """What a program written for Celery asks of a result."""
    again = AsyncResult(done.id)
    failed = throw.delay("odd")
    soon = add.apply_async((1, 2), eta=datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=5))
    with suppress(JobFailed):
        failed.get(timeout=20)
    told: list[Any] = [again.result, again.state, again.successful(), again.failed(), again.date_done is not None]
    told += [type(failed.result).__name__, failed.successful(), failed.failed()]
    return [*told, soon.result, soon.date_done, soon.ready(), soon.revoke()]


def _sorrows() -> dict[str, Any]:
    told: dict[str, Any] = {}
    try:
        throw.delay("odd").get(timeout=20)
    except JobFailed as error:
        told["failed"] = [error.code, error.type]
    waiting = fail_slowly.apply_async((), countdown=60)
    try:
        waiting.get(timeout=0.1)
    except WaitTimeout as error:
        told["too_soon"] = type(error).__name__
    told["cancelled"] = str(waiting.cancel())
    try:
        add.apply_async(("one",))
    except InvalidArguments as error:
        told["refused"] = error.pointer
    return told


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
