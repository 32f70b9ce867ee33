"""What can be done to queues: paused, resumed, looked at. Emptying and moving are bulk actions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tasks.errors import StateConflict, UnknownQueue
from tasks.queue import Pause
from tasks.store import queues
from tasks.store.backend import Query
from tasks.store.store import JobStore

#: What a queue's rate is measured over: starts within so many milliseconds, among the latest events.
RATE_SPAN = 60_000
RATE_EVENTS = 20_000


class Queues:
    """The verbs, over the record; `known()` are the queues that a submission may name."""

    def __init__(self, store: JobStore, known: Collection[str]) -> None:
        self._store = store
        self._known = known

    async def check(self, queue: str) -> str:
        """The name, if a submission may use it or jobs of it are open; else UnknownQueue."""
        if queue not in self._known and queue not in (await self._store.counts()).open:
            raise UnknownQueue(f"no queue {queue[:200]!r}: there are {', '.join(sorted(self._known))}")
        return queue

    async def pause(self, queue: str, until: int | None, reason: str | None) -> Pause:
        """Stop serving the queue, in every process, with the commit; `until` is in milliseconds since the epoch."""
        values = {"queue": await self.check(queue), "until": until, "reason": reason}
        await self._store.writer.run(Query(queues.PAUSE, values), Query(queues.UNRING_QUEUE, {"queue": queue}))
        found = await self.pauses()
        if queue not in found:
            raise StateConflict(f"queue {queue} is not paused: that moment has passed already")
        return found[queue]

    async def resume(self, queue: str) -> None:
        """Serve it again. StateConflict if it was not paused."""
        if not await self._store.run(queues.RESUME, queue=queue):
            raise StateConflict(f"queue {await self.check(queue)} is not paused")
        self._store.writer.woken()

    async def pauses(self) -> Mapping[str, Pause]:
        """The queues that are not served now."""
        return await self._store.pauses()

    async def rates(self) -> Mapping[str, float]:
        """Starts a second, by queue, over the last minute or as far back as the latest events go."""
        starts, seconds = await self._store.starts(RATE_SPAN, RATE_EVENTS)
        return {queue: number / seconds for queue, number in starts.items()}
