"""Where a body runs, and how it is interrupted there.

A sync body in a thread gets an asynchronous exception (blocking C code does not notice it); in the main thread of a
process it gets a signal, which interrupts even that; an async body gets the exception where it awaits.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import Any, ClassVar, Protocol, TypeVar

from tasks.errors import LeaseLost

T = TypeVar("T")

#: Seconds after which a thread that computes lets another one run. With Python's own choice, ten times as long, four
#: bodies that compute make each answer of the gateway take a second or more; with this a tenth of one.
SWITCH_INTERVAL = 0.0005

#: Raised by our handler in the main thread of a Celery child; Celery itself uses SIGUSR1.
SIGNAL = signal.SIGUSR2


def share_interpreter() -> None:
    """For a process whose bodies run in threads: its own loops, which keep the leases, get their turns sooner."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL))


class Seat(Protocol):
    """A place for one sync body at a time."""

    def run(self, call: Callable[[], Any]) -> Any:
        """Make the call; what `interrupt` is given is raised in it."""

    def interrupt(self, reason: type[BaseException]) -> None:
        """Raise `reason` in the body that runs now, if one does. From any other thread."""


class Interruption:
    """Why an async body is being cancelled, if it is by us; `runner` raises it where the body awaits."""

    def __init__(self) -> None:
        self.reason: type[BaseException] | None = None

    def take(self) -> BaseException | None:
        """What to raise instead of asyncio's cancellation, which is over then: the body may go on if it likes."""
        reason, self.reason = self.reason, None
        task = asyncio.current_task()
        if reason is None or task is None:
            return None
        task.uncancel()
        return reason()

    def check(self) -> None:
        """Raise what came before the body began."""
        reason, self.reason = self.reason, None
        if reason is not None:
            raise reason


class ThreadSeat:
    """The thread that calls `run`; one body after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._interrupted = False

    def run(self, call: Callable[[], Any]) -> Any:
        try:
            self._thread = threading.get_ident()
            return call()
        finally:
            self._leave()

    def interrupt(self, reason: type[BaseException]) -> None:
        with self._lock:
            if self._thread is not None:
                self._interrupted = True
                _raise_in(self._thread, reason)

    def _leave(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            if self._interrupted and thread is not None:
                self._interrupted = False
                _raise_in(thread, None)  # one that came too late must not hit the next body


class Partner:
    """A thread that runs bodies for another thread, which can stop waiting for one that ignores everything."""

    def __init__(self) -> None:
        self._inbox: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="jobgate-body", daemon=True)
        self.thread.start()

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` there. To cancel the future is to give the partner up: find another one."""
        body: Future[T] = Future()
        self._inbox.put((body, call))
        return body

    def _work(self) -> None:
        while True:
            body, call = self._inbox.get()
            result = call()
            try:
                body.set_result(result)
            except InvalidStateError:  # given up meanwhile
                return


class PartnerSeat(ThreadSeat):
    """The partner's thread; the reason LeaseLost also frees the thread that waits for it."""

    def __init__(self, partner: Partner) -> None:
        super().__init__()
        self._partner = partner
        self._body: Future[Any] | None = None

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` there; it takes its place by `run`."""
        self._body = body = self._partner.start(call)
        return body

    @property
    def goes_on(self) -> bool:
        """Once it is given up: whether the body has not ended; the thread ends with it."""
        return self._partner.thread.is_alive()

    def interrupt(self, reason: type[BaseException]) -> None:
        super().interrupt(reason)
        if reason is LeaseLost and self._body is not None:
            self._body.cancel()


class MainSeat:
    """The main thread of a process, for one body: what comes too late for it must not hit the next one."""

    _taken: ClassVar[MainSeat | None] = None
    _main: ClassVar[int] = 0
    _folder: ClassVar[str] = ""
    _mask: ClassVar[int] = 0

    def __init__(self) -> None:
        self._reason: type[BaseException] | None = None

    @classmethod
    def listen(cls) -> None:
        """From now on this is the main thread, where bodies are interrupted."""
        cls._main = threading.get_ident()
        cls._folder = os.getcwd()
        cls._mask = os.umask(0o077)
        cls._tidy()

    def run(self, call: Callable[[], Any]) -> Any:
        MainSeat._taken = self
        try:
            if self._reason is not None:
                raise self._reason
            return call()
        finally:
            MainSeat._taken = None
            self._tidy()

    def interrupt(self, reason: type[BaseException]) -> None:
        self._reason = reason
        signal.pthread_kill(self._main, SIGNAL)

    @classmethod
    def _tidy(cls) -> None:
        """Undo what a body did to its process and the next one would meet first: an alarm, our signal's handler, the
        umask, the working directory."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(SIGNAL, cls._handle)
        os.umask(cls._mask)
        with suppress(OSError):  # it may have been removed
            os.chdir(cls._folder)

    @classmethod
    def _handle(cls, number: int, frame: FrameType | None) -> None:
        seat = cls._taken
        # In `run` itself the body has not begun, and will not, or it has ended and its outcome counts.
        if seat is None or seat._reason is None or (frame is not None and frame.f_code is cls.run.__code__):
            return
        reason, seat._reason = seat._reason, None
        raise reason


def _raise_in(thread: int, reason: type[BaseException] | None) -> None:
    target = ctypes.py_object(reason) if reason is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), target)
