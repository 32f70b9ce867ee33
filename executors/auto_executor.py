"""Carries jobs to Celery while it can, to threads of this process while it cannot, and back by itself.

The rows do not know the executor and claims are fenced: what was rung for before a switch may still be answered after
it, and finds that the job is taken. So a switch needs no agreement, not even with another gateway that sees things
otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Protocol

from executors.base import CODES, Capabilities, Executor, Health, Standing, Trouble
from executors.thread_executor import ThreadExecutor
from tasks.command import Command, Outcome
from tasks.job import Job, Mode
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.auto")

#: Seconds between two looks at Celery.
LOOK = 0.1
#: How often a worker must have answered since threads took over, before they hand back: once may be chance.
PROOF = 2


class Relay(Executor, Protocol):
    """The executor that rings for Celery's workers, and knows whether they answer."""

    @property
    def trouble(self) -> Trouble | None: ...
    @property
    def answers(self) -> int: ...
    def ring_on(self, carrying: bool) -> None: ...


class AutoExecutor:
    """Begins with Celery, which has its patience to show life. Threads run what their tasks allow, see `Task.fallback`.

    For the worker registry it speaks for its threads: they have slots while they stand in, else only those still busy.
    """

    #: Its threads listen at none.
    broker = ""

    def __init__(self, store: JobStore, relay: Relay, threads: ThreadExecutor) -> None:
        self._store = store
        self._relay = relay
        self._threads = threads
        self._trouble: Trouble | None = None
        self._answers = 0
        self._since = time.monotonic()
        self._fallbacks = {str(code): 0 for code in CODES}

    @property
    def standing(self) -> Standing:
        fallback = None if self._trouble is None else self._trouble.code
        return Standing(
            setting="auto",
            mode=self._carrier.standing.mode,
            fallback=fallback,
            fallbacks=self._fallbacks,
            broker_up=self._relay.standing.broker_up,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._carrier.capabilities

    @property
    def abandoned(self) -> int:
        return self._threads.abandoned

    @property
    def slots(self) -> int:
        return self._threads.busy if self._trouble is None else self._threads.slots

    @property
    def busy(self) -> int:
        return self._threads.busy

    @property
    def queues(self) -> Sequence[str]:
        return [] if self._trouble is None else self._threads.queues

    async def start(self) -> None:
        self._threads.claim_on(False)
        await self._threads.start()
        await self._relay.start()
        self._task = asyncio.create_task(self._run(), name="jobgate-auto")

    def drain(self) -> None:
        self._threads.drain()
        self._relay.drain()

    def hurry(self) -> None:
        self._threads.hurry()

    async def stop(self, grace: float) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._relay.stop(grace)
        await self._threads.stop(grace)

    async def obey(self, command: Command) -> Outcome | None:
        """For its threads; Celery's workers have names of their own."""
        return await self._threads.obey(command)

    def cancel_soon(self, job: Job) -> None:
        self._threads.cancel_soon(job)

    async def health(self) -> Health:
        """Not well while threads stand in: it is an emergency, and some tasks may have to wait for its end."""
        celery = await self._relay.health()
        if self._trouble is None:
            return Health(ok=celery.ok, detail=f"Celery carries; {celery.detail}", away_since=celery.away_since)
        threads = await self._threads.health()
        seconds = time.monotonic() - self._since
        words = f"threads stand in since {seconds:.0f} s, {threads.detail}; {self._trouble.detail}"
        return Health(ok=False, detail=words, away_since=celery.away_since)

    @property
    def _carrier(self) -> Executor:
        return self._relay if self._trouble is None else self._threads

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                self._look(self._relay.trouble)
            except Exception:  # without this loop nobody stands in
                log.exception("the look at Celery failed; it goes on")

    def _look(self, trouble: Trouble | None) -> None:
        if self._trouble is None:
            if trouble is not None:
                self._fall_back(trouble)
        elif trouble is not None:
            # What keeps Celery away may change meanwhile; and what was answered before it did is no proof any more.
            self._trouble, self._answers = trouble, self._relay.answers
        elif self._relay.answers - self._answers >= PROOF:
            self._return()

    def _fall_back(self, trouble: Trouble) -> None:
        log.warning("threads stand in for Celery: %s", trouble.detail)
        self._fallbacks[trouble.code] += 1
        self._answers = self._relay.answers
        self._switch(trouble)

    def _return(self) -> None:
        log.warning("Celery carries again after %.0f s", time.monotonic() - self._since)
        self._switch(None)

    def _switch(self, trouble: Trouble | None) -> None:
        self._trouble = trouble
        self._since = time.monotonic()
        self._store.mode = Mode.CELERY if trouble is None else Mode.THREAD
        self._relay.ring_on(trouble is None)
        self._threads.claim_on(trouble is not None)
