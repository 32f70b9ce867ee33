"""Ending processes that were started in a session of their own: asked one by one, killed with all they left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any


def end(process: subprocess.Popen[Any], patience: float) -> bool:
    """Ask the process itself, wait `patience` seconds, then sweep; whether it had to be killed.

    Only the process is asked: a signal to its pool's children would cut jobs short.
    """
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    return sweep(process)


def sweep(process: subprocess.Popen[Any]) -> bool:
    """Kill what is left of the process and its group, which is its session; whether it lived itself."""
    lived = process.poll() is None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return lived
