"""Signals that end a worker process: while it runs a job, and in processes that tasks fork."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from types import FrameType

#: Sent by the worker's parent when it shuts down cold (SIGQUIT, a second SIGINT), and by whatever signals its group.
END_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class EndSignals:
    """Notes an end signal while a job runs, and ends the process at once while none does.

    billiard's own handler raises SystemExit wherever the main thread is: inside a task function that is taken for the
    failure of its job, and costs a retry. `busy` says whether the process works on a message.
    """

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        #: Whether the process is to give its job back and end.
        self.received = False

    def listen(self) -> None:
        """Installs the handler. To be called in the main thread."""
        for number in END_SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if not self._busy():
            raise SystemExit(1)


@functools.cache
def default_in_forks() -> None:
    """Gives signals that this process handles their default effect in every process that is forked from now on.

    With the handlers of this process, a child process of a task could not be terminated; with the wake-up descriptor of
    its event loop, a signal to the child would shut this process down. The signals wait while a fork is under way:
    Python drops those that reach the child before its handlers are reset.
    """
    numbers = {*END_SIGNALS, signal.SIGINT}

    def reset() -> None:
        signal.set_wakeup_fd(-1)
        for number in numbers:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, numbers),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers),
        after_in_child=reset,
    )
