"""Commands to a Celery worker that one of its processes received: the parent executes them, the registry confirms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from executors.identity import is_dead
from tasks.command import Command, Outcome, Verb
from tasks.store.store import JobStore

#: Seconds that a pool of processes has to grow or shrink, and between two checks whether it did.
RESIZE_TIMEOUT = 20.0
INTERVAL = 0.1


async def execute(
    command: Command, ask_parent: Callable[[Command], Outcome | None], store: JobStore, instance: str
) -> Outcome | None:
    """Has the parent of the worker `instance` execute the command; after grow and shrink returns the size that the
    registry shows, None where the parent ends this process."""
    before = await _count_processes(store, instance)
    outcome = await asyncio.to_thread(ask_parent, command)
    if outcome is None or not outcome.ok or command.verb not in (Verb.GROW, Verb.SHRINK):
        return outcome
    wanted = before + int(command.argument or 0) * (1 if command.verb is Verb.GROW else -1)
    found = before
    for _ in range(round(RESIZE_TIMEOUT / INTERVAL)):
        found = await _count_processes(store, instance)
        if found == wanted:
            break
        await asyncio.sleep(INTERVAL)
    late = f" after {RESIZE_TIMEOUT:g} s, {wanted} were asked for" if found != wanted else ""
    return Outcome(found == wanted, f"{found} slots{late}")


async def _count_processes(store: JobStore, instance: str) -> int:
    """Counts the living processes of a worker; removes the dead from the registry, which they could not do."""
    mine = [worker for worker in await store.workers() if worker.instance == instance]
    dead = [worker.owner for worker in mine if is_dead(worker.owner)]
    for owner in dead:
        await store.gone(owner)
    return len(mine) - len(dead)
