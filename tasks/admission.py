"""From a submission to the row that will be written: every value checked, every default filled in."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import msgspec
import uuid_utils
from msgspec import Struct

from tasks import models
from tasks.errors import InvalidSubmission, NotConfigured, UnknownQueue
from tasks.job import NewJob, Submission
from tasks.limits import key_name
from tasks.registry import Registry
from tasks.task import Task

MAX_TAGS = 20
MAX_TAG_LENGTH = 100
MAX_KEY_LENGTH = 200
#: Ten years; beyond it a delay is a mistake and its milliseconds may overflow a store's clock arithmetic.
MAX_SECONDS = 10 * 366 * 86_400.0
MAX_RETRIES = 1_000

#: Soft and hard, in seconds; None for no limit.
Limits = tuple[float | None, float | None]


class Defaults(Struct, frozen=True, kw_only=True):
    """What a deployment fills in: seconds for the limits, `queues` beyond those that tasks name, an IANA `timezone`."""

    soft_time_limit: float | None = 300.0
    time_limit: float | None = 600.0
    queues: tuple[str, ...] = ()
    timezone: str = "UTC"


def new_id() -> str:
    """A UUIDv7 as text: ids sort by the time they were made, which keeps the record's index short-sighted and fast."""
    return str(uuid_utils.uuid7())


class Admission:
    """The check at the door, one for HTTP, Python callers, schedules and adopted messages."""

    def __init__(self, registry: Registry, defaults: Defaults) -> None:
        self._registry = registry
        self._defaults = defaults
        self.timezone = defaults.timezone
        self._usual: dict[str, Limits] = {}
        self.queues: set[str] = set()
        self.renew()

    def renew(self) -> None:
        """Take note of tasks that have changed. A queue that was known stays so: jobs may wait in it."""
        self._usual.clear()
        self.queues.update(self._defaults.queues, (task.queue for task in self._registry))

    def knows(self, task: str) -> bool:
        """Whether a task of that name is registered."""
        return task in self._registry

    def admit(self, wish: Submission, **given: Any) -> NewJob:
        """The row for `wish`; `given` sets fields that no submission has (id, retry_of, idempotency_key …).

        Raises InvalidSubmission or one of its kin, with a pointer into the submission.
        """
        task = self._registry.get(wish.task)
        if task.needs is not None and (lack := task.needs()):
            raise NotConfigured(f"{task.name} cannot run in this deployment: {lack}", "/task")
        task.signature.check(wish.args, wish.kwargs)
        soft, hard = self._limits(task, wish)
        return NewJob(
            id=given.pop("id", None) or new_id(),
            task=task.name,
            queue=task.queue if wish.queue is None else self._queue(wish.queue),
            priority=task.priority if wish.priority is None else _within(wish.priority, 0, 9, "/priority"),
            arguments=msgspec.json.encode((wish.args, wish.kwargs), enc_hook=models.encode).decode(),
            max_retries=_retries(task, wish),
            max_losses=task.max_losses,
            soft_time_limit=soft,
            time_limit=hard,
            **_limit(task, wish),
            held=wish.held,
            tags=_tags(wish.tags) if wish.tags else None,
            **_timing(wish),
            **given,
        )

    def _queue(self, queue: str) -> str:
        if queue not in self.queues:
            known = ", ".join(sorted(self.queues))
            raise UnknownQueue(f"no queue {queue!r}: use one of {known}, or add it to JOBGATE_QUEUES", "/queue")
        return queue

    def _limits(self, task: Task[..., Any], wish: Submission) -> Limits:
        if wish.time_limit is None and wish.soft_time_limit is None:  # the usual job has its task's own
            usual = self._usual.get(task.name)
            if usual is None:
                usual = self._usual[task.name] = self._limits_of(task, wish)
            return usual
        return self._limits_of(task, wish)

    def _limits_of(self, task: Task[..., Any], wish: Submission) -> Limits:
        hard = _first(wish.time_limit, task.time_limit, self._defaults.time_limit)
        soft = _first(wish.soft_time_limit, task.soft_time_limit)
        for value, pointer in ((wish.time_limit, "/time_limit"), (wish.soft_time_limit, "/soft_time_limit")):
            if value is not None and not 0 < value <= MAX_SECONDS:
                raise InvalidSubmission(f"takes seconds above 0, at most {MAX_SECONDS:.0f}; got {value}", pointer)
        if soft is None:
            default = self._defaults.soft_time_limit
            return (None if default is None or (hard is not None and default >= hard) else default), hard
        if hard is not None and soft >= hard:
            raise InvalidSubmission(f"must be below the hard time limit ({hard} s); got {soft}", "/soft_time_limit")
        return soft, hard


def _limit(task: Task[..., Any], wish: Submission) -> dict[str, Any]:
    key = wish.concurrency_key
    if key is None:
        return {"limit_name": task.limit_name}
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise InvalidSubmission(f"a key has 1 to {MAX_KEY_LENGTH} characters", "/concurrency_key")
    return {"limit_name": key_name(task.name, key), "key_limit": task.key_concurrency}


def _timing(wish: Submission) -> dict[str, Any]:
    if wish.countdown is not None and wish.eta is not None:
        raise InvalidSubmission("give countdown or eta, not both", "/eta")
    timing: dict[str, Any] = {}
    if wish.countdown is not None:
        timing["delay"] = _milliseconds(wish.countdown, "/countdown")
    if wish.eta is not None:
        timing["due_at"] = _moment(wish.eta, "/eta")
    if isinstance(wish.expires, str):
        timing["expires_at"] = _moment(wish.expires, "/expires")
    elif wish.expires is not None:
        timing["expires_in"] = _milliseconds(wish.expires, "/expires")
    return timing


def _milliseconds(seconds: float, pointer: str) -> int:
    if not (math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS):
        raise InvalidSubmission(f"takes seconds from 0 to {MAX_SECONDS:.0f}; got {seconds}", pointer)
    return round(seconds * 1000)


def _moment(text: str, pointer: str) -> int:
    try:
        moment = msgspec.convert(text, datetime)
        seconds = moment.timestamp() if moment.tzinfo is not None else None
    except (msgspec.ValidationError, OverflowError, ValueError):
        seconds = None
    if seconds is None or not 0 <= seconds < 253_402_300_800:
        raise InvalidSubmission(
            f"takes an RFC 3339 moment with an offset, such as 2030-01-31T09:00:00Z; got {text!r}", pointer
        )
    return round(seconds * 1000)


def _retries(task: Task[..., Any], wish: Submission) -> int:
    if wish.max_retries is None:
        return task.retry.max_retries
    return _within(wish.max_retries, 0, MAX_RETRIES, "/max_retries")


def _within(value: int, low: int, high: int, pointer: str) -> int:
    if not low <= value <= high:
        raise InvalidSubmission(f"takes a whole number from {low} to {high}; got {value}", pointer)
    return value


def _tags(tags: list[str]) -> str:
    if len(tags) > MAX_TAGS:
        raise InvalidSubmission(f"takes at most {MAX_TAGS} tags; got {len(tags)}", "/tags")
    for n, tag in enumerate(tags):
        if not 0 < len(tag) <= MAX_TAG_LENGTH:
            raise InvalidSubmission(f"a tag has 1 to {MAX_TAG_LENGTH} characters", f"/tags/{n}")
        if "\0" in tag:  # from Python; over HTTP no text holds one
            raise InvalidSubmission("a tag holds no NUL", f"/tags/{n}")
    return msgspec.json.encode(tags).decode()


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
