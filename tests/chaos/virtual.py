"""An event loop without time: it jumps to whatever is due next, and its processes can be frozen and killed.

What runs in the context of a process stops where it is when that process is frozen, and is never heard of again when it
is killed: no `finally`, no goodbye. One loop, one thread: a run is the same every time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, ContextVar, copy_context
from typing import Any


class Process:
    """A context in which the product's code runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.held: list[tuple[Callable[..., Any], tuple[Any, ...], Context]] = []
        self.context = copy_context()
        self.context.run(_process.set, self)


_process: ContextVar[Process | None] = ContextVar("process", default=None)


class _Jumps(selectors.SelectSelector):
    """Waits for nothing: it moves the clock."""

    clock: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self.clock.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now` is in seconds."""

    def __init__(self) -> None:
        jumps = _Jumps()
        self.now = 0.0
        jumps.clock = self
        super().__init__(jumps)
        self.set_exception_handler(lambda loop, context: None)  # of the killed ones

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        context = context or copy_context()
        return super().call_soon(self._enter, context, callback, args, context=context)

    #: There is no other thread.
    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        context = context or copy_context()
        return super().call_at(when, self._enter, context, callback, args, context=context)

    def thaw(self, process: Process) -> None:
        process.frozen = False
        held, process.held = process.held, []
        for callback, args, context in held:
            self.call_soon(callback, *args, context=context)

    def _enter(self, context: Context, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        process = _process.get()
        if process is None or not (process.dead or process.frozen):
            callback(*args)
        elif not process.dead:
            process.held.append((callback, args, context))


class VirtualThread:
    """Stands where the product has a loop on a thread of its own."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.ident = 0

    def submit(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self, patience: float = 0.0) -> None:
        pass
