"""Real processes, measured from outside and ended by their ids."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import psutil

from gateway.cli import child

ROOT = Path(__file__).resolve().parent.parent
#: Seconds that a process has to start, and to end once it was asked.
START = 30.0
END = 10.0


class Process:
    """One of ours, in a session of its own; what it complains of is in `log`."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env=_environment(environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self.seen = psutil.Process(self._popen.pid)

    @cached_property
    def port(self) -> int:
        """The port in the first line it prints."""
        found = re.search(r"http://[\w.]+:(\d+)", self.first_line())
        if found is None:
            raise SystemExit(f"bench: {self.name} did not start:\n{self.log.read_text()[-2000:]}")
        return int(found[1])

    def stop(self) -> None:
        """Ask, wait, and kill its whole group if it stays."""
        child.end(self._popen, END)
        if self._popen.stdout:
            self._popen.stdout.close()

    def first_line(self, patience: float = START) -> str:
        """What it prints first, or "" if that takes too long or never comes."""
        assert self._popen.stdout is not None
        ready, _, _ = select.select([self._popen.stdout], [], [], patience)
        return self._popen.stdout.readline().decode() if ready else ""


def python(name: str, module: str, folder: Path, environ: Mapping[str, str] | None = None, *args: str) -> Process:
    """A module of this tree as a process."""
    return Process(name, [sys.executable, "-m", module, *args], folder, environ)


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process and its children, the ended ones too."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])
    return total


def pss(process: psutil.Process) -> float:
    """Proportional memory in MiB: what is shared with other processes counts in parts."""
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int, process: Process) -> None:
    """Return once somebody listens there."""
    ends = time.monotonic() + START
    while time.monotonic() < ends:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit(f"bench: {process.name} did not start:\n{process.log.read_text()[-2000:]}")


#: As plain Celery is run beside it: a line for each job would be measured too.
QUIET = {"LOG_LEVEL": "WARNING"}


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """The caller's own settings must not colour what is measured."""
    ours = ("JOBGATE_", "CELERY_", "USE_CELERY", "DATABASE_URL", "TASK_MODULES", "PORT", "HOST", "RESULT_EXPIRES")
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(ours)},
        "PYTHONUNBUFFERED": "1",
        **QUIET,
        **given,
    }
