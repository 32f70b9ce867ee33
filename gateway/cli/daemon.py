"""supervisord, as the stack's commands use it: started in the background, spoken to over its socket."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from msgspec import Struct

from gateway.cli.exits import CommandError, Exit
from gateway.cli.own_redis import LONGEST_SOCKET
from tasks.errors import ConfigurationError

#: Seconds between two looks, and until supervisord itself is there or gone.
LOOK = 0.1
PATIENCE = 20.0
#: States of Supervisor's in which a process is there.
ALIVE = frozenset({"STARTING", "RUNNING", "STOPPING"})
FAILED = frozenset({"FATAL", "EXITED", "UNKNOWN"})

#: Supervisor's words for "it is so already".
_ALREADY_STARTED = 60
_NOT_RUNNING = 70


class State(Struct, frozen=True, kw_only=True):
    """A process as supervisord sees it; `since` in seconds since the epoch, `pid` 0 where none lives."""

    name: str
    state: str
    pid: int
    since: int
    detail: str

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


class Daemon:
    """The supervisord of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._socket = self.folder / "supervisor.sock"
        if len(str(self._socket)) > LONGEST_SOCKET:
            raise CommandError(Exit.USAGE, f"{self.folder} is too long for a Unix socket: name another with --folder")

    @property
    def runs(self) -> bool:
        try:
            return bool(self._call("getState"))
        except OSError:
            return False

    def launch(self, document: str, environment: Mapping[str, str]) -> None:
        """Start supervisord, which starts nothing yet. `environment` is what all processes get."""
        file = self.folder / "supervisord.conf"
        file.write_text(document, encoding="utf-8")
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)]
        done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)  # noqa: S603 - our own interpreter
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip()[-500:]
            raise CommandError(Exit.UNREACHABLE, f"supervisord does not start: {words}")
        self._until(True)

    def states(self) -> list[State]:
        """Every process, in order of name; none where supervisord does not run."""
        try:
            found = self._call("getAllProcessInfo")
        except OSError:
            return []
        return [
            State(
                name=each["name"],
                state=each["statename"],
                pid=each["pid"],
                since=_since(each),
                detail=each["description"],
            )
            for each in found
        ]

    def start(self, name: str) -> None:
        """Ask for a process to be started; whether it lives is for `states` to say."""
        self._unless(_ALREADY_STARTED, "startProcess", name, False)

    def stop(self, name: str) -> None:
        """Ask for a process to be stopped."""
        self._unless(_NOT_RUNNING, "stopProcess", name, False)

    def shut_down(self) -> None:
        """End supervisord; returns when it is gone."""
        self._call("shutdown")
        self._until(False)

    def _until(self, runs: bool) -> None:
        ends = time.monotonic() + PATIENCE
        while self.runs is not runs:
            if time.monotonic() > ends:
                words = "come" if runs else "go"
                raise CommandError(Exit.UNREACHABLE, f"supervisord does not {words}; see {self.folder}/supervisord.log")
            time.sleep(LOOK)

    def _unless(self, known: int, verb: str, *arguments: Any) -> None:
        try:
            self._call(verb, *arguments)
        except Fault as fault:
            if fault.faultCode != known:
                raise CommandError(Exit.REFUSED, f"supervisord: {fault.faultString}") from fault

    def _call(self, verb: str, *arguments: Any) -> Any:
        """Raises OSError where nobody listens."""
        transport = _xmlrpc().SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            # The address is never looked up: the transport goes to the socket.
            proxy = ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(proxy.supervisor, verb)(*arguments)
        except HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            transport.close()


def _xmlrpc() -> Any:
    # By name: only the stack needs it.
    try:
        return importlib.import_module("supervisor.xmlrpc")
    except ModuleNotFoundError:
        raise ConfigurationError("`jobgate stack` needs the package 'supervisor': install jobgate[stack]") from None


def _since(info: Mapping[str, Any]) -> int:
    return int(info["start"] if info["statename"] in ALIVE else info["stop"])
