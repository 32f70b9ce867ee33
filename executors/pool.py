"""What the gateway's own pool of threads can be told, as a Celery worker can: grow, shrink, restart, drain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from tasks.command import Command, Outcome, Verb

#: Slots that one pool may have; the same bound as the setting's.
MAX_SLOTS = 1_000
#: Seconds that a shrinking pool waits for slots to become idle: a claim that is under way reserves them all.
IDLE_PATIENCE = 2.0
LOOK = 0.02


class Pool(Protocol):
    """A carrier with slots of its own."""

    slots: int

    @property
    def queues(self) -> list[str]: ...
    @property
    def idle(self) -> int:
        """Slots that neither run nor are about to be claimed for."""

    def resize(self, slots: int) -> None:
        """Have so many slots; those that go are idle."""

    def listen(self, queue: str, serve: bool) -> None:
        """Serve the queue from now on, or not any more."""

    async def close(self, grace: float) -> int:
        """Claim no more, let what runs end for `grace` seconds, give the rest back; how many that were."""

    def open(self) -> None:
        """Claim again."""


class Drill:
    """Does what a command says to a pool. `load` reads the tasks anew; ConfigurationError leaves them as they were."""

    def __init__(self, pool: Pool, grace: float, load: Callable[[], Awaitable[int]]) -> None:
        self._pool = pool
        self._grace = grace
        self._load = load
        self._slots = pool.slots
        self._turn = asyncio.Lock()

    async def obey(self, command: Command) -> Outcome:
        async with self._turn:
            return await self._verb(command.verb)(command.argument or "")

    def _verb(self, verb: str) -> Callable[[str], Awaitable[Outcome]]:
        verbs: dict[str, Callable[[str], Awaitable[Outcome]]] = {
            Verb.GROW: self._grow,
            Verb.SHRINK: self._shrink,
            Verb.CONSUME: self._consume,
            Verb.LEAVE: self._leave,
            Verb.RESTART: self._restart,
            Verb.SHUTDOWN: self._shut_down,
        }
        return verbs[verb]

    async def _grow(self, argument: str) -> Outcome:
        slots = self._pool.slots + int(argument)
        if self._pool.slots == 0 or slots > MAX_SLOTS:
            words = "the pool was shut down: restart it" if self._pool.slots == 0 else f"{MAX_SLOTS} slots at most"
            return Outcome(False, words)
        self._pool.resize(slots)
        return Outcome(True, f"{slots} slots")

    async def _shrink(self, argument: str) -> Outcome:
        number = int(argument)
        if number >= self._pool.slots:
            return Outcome(False, f"{self._pool.slots} slots: one must stay; shut the worker down instead")
        if not await self._are_idle(number):
            return Outcome(False, f"fewer than {number} slots are idle: {self._pool.slots} slots as before")
        self._pool.resize(self._pool.slots - number)
        return Outcome(True, f"{self._pool.slots} slots")

    async def _are_idle(self, number: int) -> bool:
        for _ in range(round(IDLE_PATIENCE / LOOK)):
            if self._pool.idle >= number:
                return True
            await asyncio.sleep(LOOK)
        return False

    async def _consume(self, queue: str) -> Outcome:
        if queue not in self._pool.queues:
            self._pool.listen(queue, serve=True)
        return Outcome(True, f"serves {', '.join(self._pool.queues)}")

    async def _leave(self, queue: str) -> Outcome:
        if queue not in self._pool.queues:
            return Outcome(False, f"does not serve it; serves {', '.join(self._pool.queues)}")
        if self._pool.queues == [queue]:
            return Outcome(False, "it is the only queue that is served: pause it, or shut the worker down")
        self._pool.listen(queue, serve=False)
        return Outcome(True, f"serves {', '.join(self._pool.queues)}")

    async def _restart(self, _: str) -> Outcome:
        slots = self._pool.slots or self._slots
        given_back = await self._pool.close(self._grace)
        try:
            tasks = await self._load()
        finally:
            self._pool.resize(slots)
            self._pool.open()
        return Outcome(True, f"drained, {given_back} jobs given back; {tasks} tasks read anew, {slots} slots")

    async def _shut_down(self, _: str) -> Outcome:
        if self._pool.slots == 0:
            return Outcome(False, "was shut down before")
        self._slots = self._pool.slots
        given_back = await self._pool.close(self._grace)
        self._pool.resize(0)
        return Outcome(
            True, f"drained, {given_back} jobs given back; the gateway goes on, restart gives it slots again"
        )
