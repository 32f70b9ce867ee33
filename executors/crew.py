"""What workers can be told, and what came of it: through the record, answered by the workers themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from executors.identity import is_dead
from executors.reason import shown
from tasks.admission import new_id
from tasks.command import Command, Verb, to_command
from tasks.errors import UnknownWorker
from tasks.job import Mode
from tasks.store import commands
from tasks.store.backend import Query
from tasks.store.store import COMMAND_AGE, JobStore
from tasks.worker import WORKER_TTL, Worker, WorkerState, worker_state

#: Seconds between two looks for an answer.
LOOK = 0.05


class Crew:
    """The workers of the record, whatever carries their jobs."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def registry(self) -> Sequence[tuple[Worker, str]]:
        """Every process that is remembered, and how it stands."""
        now = await self._store.now()
        return [(worker, _state(worker, now)) for worker in await self._store.registry()]

    async def tell(self, name: str | None, verb: Verb, argument: str | None, wait: float) -> Sequence[Command]:
        """One command for each live worker of that name, or for every worker; as they stand after `wait` seconds.

        Raises UnknownWorker when there is none.
        """
        live = await self._store.workers()
        targets = sorted({_target(worker) for worker in live if name in (None, worker.name)})
        if not targets:
            there = ", ".join(sorted({worker.name for worker in live})) or "none"
            raise UnknownWorker(f"no worker {name!r} shows life; those that do: {there}")
        ids = [[new_id()] for _ in targets]
        rows = [[*each, *target] for each, target in zip(ids, targets, strict=True)]
        await self._store.run(commands.ASK, rows, verb=verb, argument=argument)
        return await self._answers(ids, wait)

    async def latest(self, limit: int) -> Sequence[Command]:
        """What was asked for last, as it stands now."""
        rows = await self._store.writer.run(*_SEEN, Query(commands.LATEST, {"n": limit}))
        return [to_command(row) for row in rows]

    async def _answers(self, ids: Sequence[Sequence[str]], wait: float) -> Sequence[Command]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            rows = await self._store.writer.run(*_SEEN, Query(commands.READ, rows=ids))
            found = [to_command(row) for row in rows]
            if all(command.finished_at for command in found) or loop.time() >= deadline:
                return found
            await asyncio.sleep(LOOK)


#: Whoever asks looks first whether the registry shows what no worker can say of itself.
_SEEN = [
    *(
        Query(sql, {"age": WORKER_TTL})
        for sql in (commands.SEE_ENDED, commands.SEE_RESTARTED, commands.SEE_NOT_BACK, commands.SEE_LOST)
    ),
    Query(commands.SEE_UNANSWERED, {"age": COMMAND_AGE}),
]


def _state(worker: Worker, now: int) -> WorkerState:
    """A process of this host that is not there any more is lost at once, not when its signs of life are too old."""
    return WorkerState.LOST if is_dead(worker.owner) else worker_state(worker, now)


def _target(worker: Worker) -> tuple[str, str]:
    """The id to which a command goes, and the name to show: the processes of a Celery worker share one command; each
    gateway gets its own."""
    return (worker.instance, worker.name) if worker.mode == Mode.CELERY else (worker.owner, shown(worker))
