"""What the record says about how tasks fare: pure, from its inventory and the deployment's thresholds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from tasks.inventory import RECENT, Inventory
from tasks.job import State
from tasks.packs.assistant.settings import Settings
from tasks.worker import Worker, WorkerState, worker_state

_FAILED = (State.FAILURE, State.RETRY)


class TaskHealth(Struct, frozen=True, kw_only=True):
    """The attempts of a task that ended within the window: `failure_rate` of those that were not stopped."""

    task: str
    succeeded: int
    failed: int
    failure_rate: float
    last_error: str | None


class QueueHealth(Struct, frozen=True, kw_only=True):
    """The jobs that wait in a queue, `due` of them now; `oldest_due` in seconds; `workers` that serve it."""

    queue: str
    waiting: int
    due: int
    oldest_due: float | None
    workers: int
    paused: bool
    stuck: bool


class WorkerHealth(Struct, frozen=True, kw_only=True):
    name: str
    state: WorkerState
    slots: int
    busy: int


class Health(Struct, frozen=True, kw_only=True):
    """`problems` are sentences, none when `healthy`; `window` in seconds is what the failure rates look back on."""

    healthy: bool
    problems: Sequence[str]
    window: float
    tasks: Sequence[TaskHealth]
    queues: Sequence[QueueHealth]
    workers: Sequence[WorkerHealth]


def examine(record: Inventory, settings: Settings) -> Health:
    tasks = list(_tasks(record))
    queues = list(_queues(record, settings.assistant_stuck_after))
    workers = [_worker(one, record.now) for one in record.workers]
    problems = [*_failing(tasks, settings), *_stuck(queues), *_missing(workers)]
    return Health(
        healthy=not problems, problems=problems, window=RECENT / 1000, tasks=tasks, queues=queues, workers=workers
    )


def _tasks(record: Inventory) -> Iterator[TaskHealth]:
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    errors: dict[str, str | None] = {}
    for outcome in record.outcomes:
        ends[outcome.task][outcome.status] += outcome.count
        if outcome.status in _FAILED:
            errors.setdefault(outcome.task, outcome.message)
    for task, count in sorted(ends.items()):
        succeeded, failed = count[State.SUCCESS], sum(count[state] for state in _FAILED)
        rate = round(failed / (succeeded + failed), 4) if succeeded + failed else 0.0
        yield TaskHealth(task=task, succeeded=succeeded, failed=failed, failure_rate=rate, last_error=errors.get(task))


def _queues(record: Inventory, stuck_after: float) -> Iterator[QueueHealth]:
    serving = [one for one in record.workers if worker_state(one, record.now) is WorkerState.UP]
    for queue in sorted({waiting.queue for waiting in record.waiting}):
        groups = [waiting for waiting in record.waiting if waiting.queue == queue]
        workers = sum(queue in worker.queues for worker in serving)
        # Where somebody serves it, jobs behind a limit wait as they should.
        since = [group.plain_since if workers else group.due_since for group in groups]
        longest = max((record.now - moment for moment in since if moment is not None), default=0) / 1000
        oldest = min((group.due_since for group in groups if group.due_since is not None), default=None)
        yield QueueHealth(
            queue=queue,
            waiting=sum(group.jobs for group in groups),
            due=sum(group.due for group in groups),
            oldest_due=None if oldest is None else (record.now - oldest) / 1000,
            workers=workers,
            paused=queue in record.paused,
            stuck=longest >= stuck_after,
        )


def _worker(worker: Worker, now: int) -> WorkerHealth:
    return WorkerHealth(name=worker.name, state=worker_state(worker, now), slots=worker.slots, busy=worker.busy)


def _failing(tasks: Sequence[TaskHealth], settings: Settings) -> Iterator[str]:
    for task in tasks:
        ended = task.succeeded + task.failed
        if ended >= settings.assistant_failure_count and task.failure_rate >= settings.assistant_failure_rate:
            yield f"{task.task}: {task.failed} of {ended} attempts failed; the last: {task.last_error or 'no words'}"


def _stuck(queues: Sequence[QueueHealth]) -> Iterator[str]:
    for queue in queues:
        if queue.stuck:
            why = "it is paused" if queue.paused else f"{queue.workers} workers serve it"
            yield f"queue {queue.queue}: {queue.due} jobs are due, the oldest for {queue.oldest_due:.0f} s; {why}"


def _missing(workers: Sequence[WorkerHealth]) -> Iterator[str]:
    if not any(worker.state is WorkerState.UP and worker.slots for worker in workers):
        yield "no worker takes jobs"
    for worker in workers:
        if worker.state is WorkerState.LOST and worker.busy:
            yield f"worker {worker.name} was lost with {worker.busy} jobs; others take them over"
        elif worker.state is WorkerState.DEAF:
            yield f"worker {worker.name} does not hear the broker"
