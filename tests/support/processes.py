"""A real process of ours: its output in a file, ended by its pid."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from gateway.cli import child
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]

#: Settings of whoever runs the tests must not reach the processes under test.
_FOREIGN = re.compile(
    r"JOBGATE_|CELERY_|USE_CELERY|DATABASE_URL|TASK_MODULES|FILES_ROOT|RESULT_EXPIRES|PORT$|HOST$|REDIS_URL"
)


def clean_environment(**values: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **values}


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


class Process:
    """Runs from the constructor on, in a session of its own, so that its children can be ended with it."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._output = self.log.open("ab")
        self._start = self.log.stat().st_size
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        return self.log.read_bytes()[self._start :].decode(errors="replace")

    def children(self) -> list[int]:
        """The pids of its living descendants."""
        with suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        return []

    def wait_for(self, pattern: str, within: float = 30.0) -> re.Match[str]:
        """The first match of `pattern` in its output; AssertionError with the output if it ends before."""

        def look() -> re.Match[str] | None:
            alive = self.code is None
            found = re.search(pattern, self.output)
            assert found or alive, f"{self.name} ended with {self.code}:\n{self.output}"
            return found

        try:
            return eventually(look, within, f"{pattern!r} from {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output[-4000:]}") from None

    def signal(self, number: int) -> None:
        """To this process alone; nothing if it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9 of this process alone."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    def ends(self, within: float) -> bool:
        """Whether it has ended, after so many seconds at most."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self.code is not None

    def stop(self, patience: float = 15.0) -> int:
        """Ask it to end, wait, and kill it and what it left behind; its exit code."""
        child.end(self._process, patience)
        self._output.close()
        return self._process.wait()
