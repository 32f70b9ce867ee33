"""Event loops for async bodies: a body that blocks its loop must not keep the bodies of other jobs from running."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

from executors.body import Interruption
from executors.loop_thread import LoopThread
from tasks.errors import LeaseLost

log = logging.getLogger("jobgate.bodies")

T = TypeVar("T")

#: Looks in a row that a loop may leave unanswered before it counts as blocked: one second, as the keeper looks.
#: Counted in looks and not in seconds, so that a process which stood still as a whole blames nobody.
PATIENCE = 20
#: Loops of one process that may be blocked at a time. Beyond that new async bodies wait for one of them to return.
MOST_BLOCKED = 16

_seat: contextvars.ContextVar[AsyncSeat] = contextvars.ContextVar("jobgate_seat")

Body = Callable[[Interruption], Coroutine[Any, Any, T]]


class AsyncSeat:
    """A place for one async body. `name` says in the log whose body it is.

    `stalled`: seconds that other bodies kept it from running. `stranded`: the body that blocks its loop was given up,
    and nobody knows when the loop returns.
    """

    def __init__(self, loops: BodyLoops, name: str = "") -> None:
        self.name = name
        self.stalled = 0.0
        self.stranded = False
        self.given_up = False
        self.begun = False
        self._loops = loops
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interruption = Interruption()
        self._body: Body[Any] | None = None
        self._result: Future[Any] = Future()
        self._task: asyncio.Task[Any] | None = None

    def start(self, body: Body[T]) -> Future[T]:
        """Run `body(interruption)` on a loop that is not blocked."""
        self._body = body
        self._loops.place(self)
        return self._result

    @property
    def goes_on(self) -> bool:
        """Whether the body has begun and not ended, even if nobody waits for it."""
        return self._task is not None and not self._task.done()

    def interrupt(self, reason: type[BaseException]) -> None:
        """Raise `reason` where the body awaits, or in its place if it has not begun. LeaseLost gives the body up."""
        self._interruption.reason = reason
        if reason is LeaseLost:
            self.given_up = True
            self._result.cancel()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel)

    def begin(self, loop: _Loop) -> None:
        """Called by each loop that the body was put on; the one that has it now runs it."""
        if self._body is None or not self._loops.take(self, loop):
            return
        self._loop = asyncio.get_running_loop()
        context = contextvars.Context()  # empty: a body sees no variable that another job has set
        context.run(_seat.set, self)
        context.run(self._loop.create_task, self._run(self._body))

    async def _run(self, body: Body[Any]) -> None:
        self._task = asyncio.current_task()
        with suppress(InvalidStateError):  # nobody waits any more
            try:
                result = await body(self._interruption)
            except BaseException as error:  # the waiter must hear of whatever it is
                self._result.set_exception(error)
            else:
                self._result.set_result(result)
            finally:
                self._loops.leave(self)

    def _cancel(self) -> None:
        # The task and not its future: that one would tell its waiter at once that there is no result.
        if self._task is not None and self._interruption.reason is not None:  # else it has been raised already
            self._task.cancel()


class _BodyTask(asyncio.Task[Any]):
    """A task of an async body, which may have several; knows the seat of its body."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seat = _seat.get(None)


class _Loop:
    """One loop, the bodies that were put on it, and whether it answers."""

    def __init__(self, name: str) -> None:
        self._thread = LoopThread(name)
        self._thread.loop.set_task_factory(lambda loop, work, **options: _BodyTask(work, loop=loop, **options))
        self.seats: set[AsyncSeat] = set()
        self._asked = False
        self._unanswered = 0
        self._since = 0.0
        self._told = False

    @property
    def blocked(self) -> bool:
        return self._asked and self._unanswered >= PATIENCE

    def put(self, seat: AsyncSeat) -> None:
        self.seats.add(seat)
        self._thread.loop.call_soon_threadsafe(seat.begin, self)

    def look(self, now: float) -> None:
        """Ask the loop for a sign of life, and hold against its bodies what they did not get to do."""
        if not self._asked:
            if self.seats:
                self._asked, self._unanswered, self._since, self._told = True, 0, now, False
                self._thread.loop.call_soon_threadsafe(self._answer)
            return
        self._unanswered += 1
        if not self.blocked:
            return
        blamed = self._blamed()
        lost, self._since = now - self._since, now
        for seat in self.seats:
            if seat is not blamed:
                seat.stalled += lost
                seat.stranded = seat.begun and blamed is not None and blamed.given_up
        if not self._told:
            self._told = True
            self._tell(blamed)

    def stop(self, wait: bool) -> None:
        self._thread.stop(5 if wait and not self.blocked else 0)

    def _answer(self) -> None:
        self._asked = False

    def _blamed(self) -> AsyncSeat | None:
        """Whose body holds the loop; None if that cannot be told."""
        holder = asyncio.current_task(self._thread.loop)
        if isinstance(holder, _BodyTask) and holder.seat is not None:
            return holder.seat
        begun = [seat for seat in self.seats if seat.begun]
        return begun[0] if len(begun) == 1 else None

    def _tell(self, blamed: AsyncSeat | None) -> None:
        frame = sys._current_frames().get(self._thread.ident)
        where = f" at {frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
        log.error(
            "%s blocks the event loop of async tasks%s; new async jobs run on another loop. An async task must not "
            "call what blocks (time.sleep, requests): await it, or use `asyncio.to_thread`, or write it as `def`",
            "a callback" if blamed is None else blamed.name or "a body",
            where,
        )


class BodyLoops:
    """The loops of one process. Bodies share the oldest that is not blocked, so mostly there is one.

    `look` is to be called every `keeper.TICK` from a thread that no body can block.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loops: list[_Loop] = []

    @property
    def blocked(self) -> int:
        return sum(loop.blocked for loop in self._loops)

    def place(self, seat: AsyncSeat) -> None:
        with self._lock:
            if not self._loops:
                self._loops.append(_Loop(self._name))
            self._usable().put(seat)

    def take(self, seat: AsyncSeat, loop: _Loop) -> bool:
        """Begin the body on this loop, unless it was moved to another."""
        with self._lock:
            if seat not in loop.seats:
                return False
            seat.begun = True
            return True

    def leave(self, seat: AsyncSeat) -> None:
        """The seat's body has ended."""
        with self._lock:
            for loop in self._loops:
                loop.seats.discard(seat)

    def look(self) -> None:
        """Find the loops that are blocked, put a new one beside them, and move there what has not begun."""
        now = time.monotonic()
        with self._lock:
            for loop in self._loops:
                loop.look(now)
            if self._loops and all(loop.blocked for loop in self._loops):
                self._replace()
            self._move()
            self._retire()

    def stop(self) -> None:
        with self._lock:
            for loop in self._loops:
                loop.stop(wait=True)

    def _usable(self) -> _Loop:
        return next((loop for loop in self._loops if not loop.blocked), self._loops[-1])

    def _replace(self) -> None:
        if len(self._loops) <= MOST_BLOCKED:
            self._loops.append(_Loop(self._name))
        if len(self._loops) == MOST_BLOCKED:
            log.error("%d event loops of async tasks are blocked; restart this process soon", MOST_BLOCKED - 1)

    def _move(self) -> None:
        usable = self._usable() if self._loops else None
        if usable is None or usable.blocked:
            return
        for loop in self._loops:
            for seat in [seat for seat in loop.seats if loop.blocked and not seat.begun]:
                loop.seats.discard(seat)
                usable.put(seat)

    def _retire(self) -> None:
        """The first loop stays: what tasks keep between jobs is bound to it."""
        for loop in [loop for loop in self._loops[1:] if not loop.seats and not loop.blocked]:
            if loop is not self._usable():
                self._loops.remove(loop)
                loop.stop(wait=False)
