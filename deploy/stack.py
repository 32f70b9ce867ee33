"""Production's shape on one machine: runs the Procfile in Celery mode, with a Redis of its own unless one is named.

Ctrl-C or SIGTERM stops all: each process is asked, then waited for, and Redis goes last. A second Ctrl-C kills.
Exits 0 when everything ended because it was asked to, and in time; otherwise 1, or the code of what failed first.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from gateway.cli import local_stack, own_redis
from gateway.cli.child import sweep
from gateway.cli.exits import CommandError
from gateway.cli.supervision import GATEWAY_ONLY, WEB
from tasks.errors import ConfigurationError
from tasks.private_files import keep_files_private

ROOT = Path(__file__).resolve().parent.parent
# Seconds. Longer than a drain takes, so that only what hangs is killed.
PATIENCE = 60.0
REDIS_START = 10.0
# A signal to a whole group reaches us directly and by way of make: that is one request, not two.
ECHO = 1.0
# How a program may say "I was asked to end": by itself, or by ending of the signal once it has cleaned up.
ASKED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)


class Child:
    """One process, in a session of its own: Ctrl-C on the terminal reaches only us, and we decide the order."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], width: int) -> None:
        self.name = name
        self.killed = False
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._label = f"{name:<{width}} | "
        self._reader = threading.Thread(target=self._relay, daemon=True)
        self._reader.start()

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def ask(self) -> None:
        """Only the process itself, as `gateway.cli.child` does."""
        self._process.terminate()

    def kill(self) -> None:
        """The whole group, so that no child of a killed process stays behind."""
        self.killed = sweep(self._process)

    def finish(self) -> None:
        """Shows what it wrote last, and leaves nothing of its group behind."""
        self.kill()
        self._reader.join(timeout=1)

    def _relay(self) -> None:
        for line in self._process.stdout or ():
            say(self._label + line.decode(errors="replace").rstrip("\n"))


class Stop:
    """Notes the requests to stop; signals may come at any moment, so nothing else happens in the handler."""

    def __init__(self) -> None:
        self.insisted = False
        self._since: float | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    @property
    def asked(self) -> bool:
        return self._since is not None

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > ECHO:
            self.insisted = True


def say(line: str) -> None:
    # When whoever read us has gone, the processes must still be served and stopped.
    with suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def read_procfile() -> dict[str, list[str]]:
    lines = (line.strip() for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines())
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {name.strip(): shlex.split(command) for name, _, command in pairs}


def make_environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "USE_CELERY": "1", "PYTHONUNBUFFERED": "1"}


@contextmanager
def redis_beside(environment: dict[str, str], width: int) -> Iterator[Child]:
    """A Redis of our own, where `jobgate` finds it; it goes last. It has no use for the deployment's secrets."""
    folder = ROOT / local_stack.FOLDER
    if own_redis.answers(folder):
        raise SystemExit(
            "stack: another stack runs in this folder; stop it first: Ctrl-C there, or `jobgate stack stop`"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    log = folder / "redis.log"
    redis = Child("redis", own_redis.command(folder, "--logfile", str(log)), {}, width)
    try:
        wait_for_redis(redis, folder, log)
        environment["CELERY_BROKER_URL"] = own_redis.url(folder)
        yield redis
    finally:
        stop([redis], None)


def wait_for_redis(redis: Child, folder: Path, log: Path) -> None:
    end = time.monotonic() + REDIS_START
    while not own_redis.answers(folder):
        if redis.code is not None or time.monotonic() > end:
            say(log.read_text(errors="replace") if log.exists() else "")
            raise SystemExit("stack: Redis did not start; name another with CELERY_BROKER_URL")
        time.sleep(0.02)


def stop(children: list[Child], request: Stop | None) -> None:
    """Asks, waits, and kills what is left when patience, or the user's, ends."""
    end = time.monotonic() + PATIENCE
    for child in children:
        child.ask()
    while any(child.code is None for child in children) and time.monotonic() < end:
        if request and request.insisted:
            break
        time.sleep(0.05)
    for child in children:
        child.finish()
        say(f"stack: {child.name} {'was killed' if child.killed else f'ended with {child.code}'}")


def watch(children: list[Child], request: Stop) -> Child | None:
    """Waits for a request to stop, or for a process that ends by itself, which is returned."""
    while not request.asked:
        for child in children:
            if child.code is not None:
                return child
        time.sleep(0.1)
    return None


def verdict(first: Child | None, children: list[Child]) -> int:
    if first is not None:
        return first.code if first.code and first.code > 0 else 1
    return 0 if all(child.code in ASKED and not child.killed for child in children) else 1


def main() -> int:
    keep_files_private()
    request, environment, commands = Stop(), make_environment(), read_procfile()
    width = max(map(len, [*commands, "redis"]))
    with ExitStack() as last:
        watched: list[Child] = []
        if not environment.get("CELERY_BROKER_URL"):
            watched.append(last.enter_context(redis_beside(environment, width)))
        say(f"stack: broker {'our own Redis' if watched else 'from CELERY_BROKER_URL'}; starts {', '.join(commands)}")
        children: list[Child] = []
        try:
            for name, command in commands.items():
                hidden = () if name == WEB else GATEWAY_ONLY
                given = {key: value for key, value in environment.items() if key not in hidden}
                children.append(Child(name, command, given, width))
            first = watch([*children, *watched], request)
            say(f"stack: {f'{first.name} ended by itself' if first else 'asked to stop'}")
        finally:
            stop(children, request)
    return verdict(first, children)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigurationError as error:
        sys.exit(f"stack: {error.detail}")
    except CommandError as error:
        sys.exit(f"stack: {error.words}")
