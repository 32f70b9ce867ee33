"""The tasks of the conformance suite. They are run by real workers, so this module imports nothing of the web."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import decimal
import logging
import math
import multiprocessing
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

from tasks import Cancelled, Context, FatalError, Retry, SoftTimeLimitExceeded, task
from tests.support.ledger import note

#: Seconds of one step of a body that waits.
STEP = 0.01
#: Seconds after which a body that waits for something outside gives up, so that no test can leave one behind.
PATIENCE = 60.0

NO_RETRY: dict[str, Any] = {"max_retries": 0}


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done() and time.monotonic() < deadline:
        time.sleep(STEP)


# Plain values.


@task(name="tests.add")
def add(x: int, y: int = 10) -> int:
    """Add two whole numbers."""
    return x + y


@task(name="tests.add_async")
async def add_async(x: int, y: int = 10) -> int:
    await asyncio.sleep(0)
    return x + y


@task(name="tests.note")
def write_note(path: str, line: str) -> None:
    """One line in a ledger at each start."""
    note(path, line)


@task(name="tests.note_pid")
def write_pid(path: str, seconds: float = 0.0) -> int:
    """The process that runs it, in a ledger and as the result."""
    note(path, os.getpid())
    time.sleep(seconds)
    return os.getpid()


@task(name="tests.named", queue="normal", priority=4, **NO_RETRY)
def named() -> str:
    """Has a queue and a priority of its own."""
    return "named"


@task(name="tests.block", soft_time_limit=90, time_limit=100, **NO_RETRY)
def block(path: str) -> None:
    """Hold a slot until a file is there."""
    _until(Path(path).exists)


@task(name="tests.modules")
def modules() -> list[str]:
    """What this process has loaded."""
    return sorted(sys.modules)


@task(name="tests.switched", bind=True, max_retries=3, retry_backoff=0.1, retry_jitter=0)
def switched(self: Context, path: str, number: int, seconds: float) -> int:
    """Notes its start and its end; every tenth fails once in between."""
    note(path, f"start {number}")
    time.sleep(seconds)
    if number % 10 == 1 and not self.retries:
        raise ValueError("once")
    note(path, f"end {number}")
    return number


@task(name="tests.celery_only", fallback=False, **NO_RETRY)
def celery_only() -> None:
    """Not for threads that stand in for Celery."""


@task(name="tests.pids", max_losses=3, **NO_RETRY)
def pids(path: str, until: str) -> int:
    """Notes its process, and holds on until a file is there."""
    note(path, os.getpid())
    _until(Path(until).exists)
    return os.getpid()


# Arguments.


@task(name="tests.unbound", **NO_RETRY)
def unbound(a: int, b: int) -> list[Any]:
    return [type(a).__name__, a, b]


@task(name="tests.bound", bind=True, **NO_RETRY)
def bound(self: Context, a: int, b: int) -> list[Any]:
    return [type(self).__name__, a, b]


@task(name="tests.unbound_async", **NO_RETRY)
async def unbound_async(a: int, b: int) -> list[Any]:
    return [type(a).__name__, a, b]


@task(name="tests.bound_async", bind=True, **NO_RETRY)
async def bound_async(self: Context, a: int, b: int) -> list[Any]:
    return [type(self).__name__, a, b]


@task(name="tests.shapes", **NO_RETRY)
def shapes(a: int, /, b: int, c: int = 3, *rest: int, d: int = 4, **more: int) -> list[Any]:
    return [a, b, c, list(rest), d, more]


@task(name="tests.typed", **NO_RETRY)
def typed(key: UUID, at: datetime, maybe: UUID | None = None) -> list[Any]:
    return [type(key).__name__, key.version, at.isoformat(), at.tzinfo is not None, maybe is None]


# What one job leaves behind.

_tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def _leave() -> list[str]:
    """What the job before has left, then something for the next one."""
    found = [_tenant.get(), str(decimal.getcontext().prec)]
    _tenant.set("somebody")
    decimal.getcontext().prec = 5
    return found


@task(name="tests.leave", **NO_RETRY)
def leave() -> list[str]:
    return _leave()


@task(name="tests.leave_async", **NO_RETRY)
async def leave_async() -> list[str]:
    await asyncio.sleep(0)
    return _leave()


@task(name="tests.disturb", **NO_RETRY)
def disturb(folder: str) -> list[str]:
    """Where it runs and with which umask; changes both, and orders an alarm that would end the process."""
    mask = os.umask(0o777)
    found = [str(Path.cwd()), oct(mask)]
    os.chdir(folder)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    return found


@task(name="tests.switch_interval", **NO_RETRY)
def switch_interval() -> float:
    return sys.getswitchinterval()


@task(name="tests.hold_lock", max_retries=0, soft_time_limit=50, time_limit=60)
def hold_lock(path: str, seconds: int) -> int:
    """Is in C code that does not let go of the interpreter's lock, for so long."""
    note(path, os.getpid())
    ctypes.PyDLL(None).sleep(seconds)
    return seconds


@task(name="tests.start_processes", max_retries=0)
def start_processes() -> list[int]:
    """What child processes of the body return: a forked one and a fresh interpreter; the signal that ended another one,
    and the exit code of a forked copy of this body."""
    found: list[int] = []
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found += pool.map(abs, [-2 - len(found)])
    sleeping = multiprocessing.get_context("fork").Process(target=time.sleep, args=(PATIENCE,))
    sleeping.start()
    sleeping.terminate()
    sleeping.join(10)
    assert sleeping.exitcode is not None
    copy = os.fork()
    if not copy:
        sys.exit(3)
    return [*found, -sleeping.exitcode, os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])]


@task(name="tests.leave_threads", **NO_RETRY)
def leave_threads(until: str) -> None:
    """Work that goes on after the job, in threads that the interpreter waits for at its end."""
    ThreadPoolExecutor(1).submit(_until, Path(until).exists)
    Thread(target=_until, args=(Path(until).exists,)).start()


# Errors and retries.


@task(name="tests.fail", bind=True, max_retries=3, retry_backoff=0.2, retry_jitter=0)
def fail(self: Context, times: int) -> list[int]:
    """Fails the first `times` attempts; how often it had failed before, at the end."""
    if self.attempt <= times:
        raise ValueError(f"attempt {self.attempt}")
    return [self.attempt, self.retries, self.request.retries]


@task(name="tests.fail_slowly", max_retries=3, retry_backoff=300)
def fail_slowly() -> None:
    raise ValueError("later")


@task(name="tests.ask_again", bind=True, max_retries=5)
def ask_again(self: Context, countdown: float, how: str) -> int:
    """Asks for another attempt in its own words, once."""
    if not self.retries and how == "raise":
        raise Retry("not yet", countdown)
    if not self.retries:
        self.retry(OSError("not yet"), countdown)
    return self.attempt


@task(name="tests.fatal", max_retries=3)
def fatal() -> None:
    raise FatalError("there is no such account")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Odd(Exception):
    pass


_ERRORS: dict[str, Callable[[], BaseException]] = {
    "mute": Mute,
    "odd": lambda: Odd("half \ud83d of a pair and NUL \x00"),
    "long": lambda: Odd("x" * 100_000),
    "empty": Odd,
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "memory": MemoryError,
}


@task(name="tests.throw", **NO_RETRY)
def throw(kind: str) -> None:
    raise _ERRORS[kind]()


@task(name="tests.throw_async", **NO_RETRY)
async def throw_async(kind: str) -> None:
    await asyncio.sleep(0)
    raise _ERRORS[kind]()


@task(name="tests.chat", **NO_RETRY)
def chat(about: str) -> None:
    """Logs as any library does."""
    orders = logging.getLogger("shop.orders")
    orders.info("begins with %s", about)
    orders.warning("100%% of %s", about)


@task(name="tests.chat_async", **NO_RETRY)
async def chat_async(about: str) -> None:
    await asyncio.sleep(0)
    chat(about)


@task(name="tests.chatter", bind=True, **NO_RETRY)
def chatter(ctx: Context, count: int) -> None:
    for n in range(count):
        ctx.log(f"line {n}")


def connect_with(url: str, attempt: int) -> None:
    raise ConnectionError(f"{url} refuses; run {attempt}")


@task(name="tests.reveal", bind=True, retry_backoff=0.01)
def reveal(ctx: Context) -> None:
    """Fails with a secret in its words."""
    connect_with("postgresql://shop:hunter2@db/shop", ctx.attempt)


@task(name="tests.die", max_losses=1, **NO_RETRY)
def die(path: str) -> None:
    """Kills its process; only for carriers that are not the gateway."""
    note(path, os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


# Results.


def _recursive() -> list[Any]:
    knot: list[Any] = []
    knot.append(knot)
    return knot


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


_RESULTS: dict[str, Callable[[], Any]] = {
    "object": object,
    "nan": lambda: math.nan,
    "recursive": _recursive,
    "deep": _deep,
    "bytes": lambda: b"raw",
    "odd_key": lambda: {(1, 2): 3},
    "generator": lambda: (n for n in range(3)),
    "large": lambda: "x" * 100_000_000,
    "text": lambda: "half \ud83d of a pair, NUL \x00, naïve 文件 🗂",
    "nothing": lambda: None,
    "nested": lambda: {"a": [1, 2.5, None, True, {"b": "c"}]},
    "moment": lambda: datetime.fromisoformat("2030-01-31T09:00:00+00:00"),
}


@task(name="tests.give", time_limit=30, **NO_RETRY)
def give(kind: str) -> Any:
    return _RESULTS[kind]()


# Limits and cancelling.


@task(name="tests.nap", **NO_RETRY)
def nap(seconds: float) -> float:
    """Blocks in C."""
    time.sleep(seconds)
    return seconds


@task(name="tests.nap_async", **NO_RETRY)
async def nap_async(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@task(name="tests.loop", **NO_RETRY)
def loop(path: str, seconds: float = PATIENCE) -> str:
    """Python that can be interrupted anywhere; notes what interrupted it, and lets it pass."""
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(STEP)
    except BaseException as error:
        note(path, type(error).__name__)
        raise
    return "to the end"


@task(name="tests.catch", **NO_RETRY)
def catch(seconds: float = PATIENCE) -> str:
    """Catches its soft limit and returns something else instead."""
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(STEP)
    except SoftTimeLimitExceeded:
        return "caught"
    return "to the end"


@task(name="tests.catch_async", **NO_RETRY)
async def catch_async(seconds: float = PATIENCE) -> str:
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(STEP)
        return "caught"
    return "to the end"


@task(name="tests.loop_async", **NO_RETRY)
async def loop_async(path: str, seconds: float = PATIENCE) -> str:
    try:
        await asyncio.sleep(seconds)
    except BaseException as error:
        note(path, type(error).__name__)
        raise
    return "to the end"


@task(name="tests.polite", bind=True, **NO_RETRY)
def polite(self: Context, path: str) -> None:
    """Stops where it says that it may be stopped, and nowhere else."""
    try:
        note(path, "begun")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.check()
            time.sleep(STEP)
    except Cancelled:
        note(path, "stopped politely")
        raise


@task(name="tests.stubborn", **NO_RETRY)
def stubborn(path: str, until: str) -> str:
    """Takes no notice of anything that is raised in it, until a file is there."""
    note(path, os.getpid())
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            while not Path(until).exists() and time.monotonic() < deadline:
                time.sleep(STEP)
            break
        except BaseException:  # noqa: S112 - that is the point
            continue
    return "done all the same"


@task(name="tests.stubborn_async", **NO_RETRY)
async def stubborn_async(path: str, until: str) -> str:
    note(path, os.getpid())
    deadline = time.monotonic() + PATIENCE
    while not Path(until).exists() and time.monotonic() < deadline:
        try:
            await asyncio.sleep(STEP)
        except BaseException:  # noqa: S112 - that is the point
            continue
    return "done all the same"


@task(name="tests.freeze_async", soft_time_limit=0.5, time_limit=1, **NO_RETRY)
async def freeze_async(until: str) -> None:
    """Keeps its event loop from running anybody else."""
    _until(Path(until).exists)


@task(name="tests.hold_async", max_losses=3, **NO_RETRY)
async def hold_async(path: str, until: str) -> str:
    note(path, "begun")
    deadline = time.monotonic() + PATIENCE
    while not Path(until).exists() and time.monotonic() < deadline:
        await asyncio.sleep(STEP)
    note(path, "ended")
    return "held"


@task(name="tests.finish_when_asked", bind=True, **NO_RETRY)
def finish_when_asked(self: Context) -> str:
    """Has its result ready at the moment it is told to stop."""
    with contextlib.suppress(Cancelled):
        _until(lambda: self.cancelled)
    return "just in time"


@task(name="tests.wrap", max_retries=3, retry_backoff=0.1)
def wrap(path: str) -> None:
    """Turns whatever interrupts it into an error of its own."""
    try:
        note(path, "begun")
        time.sleep(PATIENCE)
    except BaseException as error:
        raise RuntimeError("the connection broke") from error


# Reports.


@task(name="tests.report", bind=True, **NO_RETRY)
def report(self: Context, gate: str) -> str:
    self.log("begun")
    self.progress(1, 4, "one of four")
    _until(Path(gate).exists)
    self.progress(4, 4, "all")
    self.log("done", "warning")
    return self.idempotency_key


@task(name="tests.report_async", bind=True, **NO_RETRY)
async def report_async(self: Context, gate: str) -> str:
    self.log("begun")
    self.progress(1, 4, "one of four")
    deadline = time.monotonic() + PATIENCE
    while not Path(gate).exists() and time.monotonic() < deadline:
        await asyncio.sleep(STEP)
    self.progress(4, 4, "all")
    self.log("done", "warning")
    return self.idempotency_key


# Limits on many.


@task(name="tests.rated", rate_limit="10/s", **NO_RETRY)
def rated() -> None:
    pass


@task(name="tests.few", concurrency=2, **NO_RETRY)
def few() -> None:
    time.sleep(0.1)


# Loops and callers.

#: Bound to the loop in which it is first used: another loop would make it fail.
_lock = asyncio.Lock()


@task(name="tests.share_loop", **NO_RETRY)
async def share_loop() -> list[int]:
    """Uses what belongs to one loop; its process and that loop."""
    async with _lock:
        await asyncio.sleep(0)
    return [os.getpid(), id(asyncio.get_running_loop())]


@task(name="tests.call", **NO_RETRY)
def call(x: int) -> list[Any]:
    """Submits a job from inside of one and waits for it."""
    handle = add.apply_async((x,), {"y": 1}, priority=9)
    result = handle.get(timeout=15, disable_sync_subtasks=False)
    return [handle.id, result, handle.ready(), str(handle.status)]


@task(name="tests.call_async", **NO_RETRY)
async def call_async(x: int) -> list[Any]:
    handle = await add.submit_async((x,), {"y": 1}, priority=9)
    result = await handle.get_async(timeout=15, disable_sync_subtasks=False)
    return [handle.id, result, await handle.ready_async(), str(await handle.status_async())]


@task(name="tests.break_pipe", **NO_RETRY)
def break_pipe() -> None:
    """Sends the worker's parent something that is no result, as a broken process may."""
    from billiard import current_process  # a gateway in thread mode loads nothing of Celery

    os.write(current_process().outq._writer.fileno(), struct.pack("!i", 5) + b"\x01abcd")


@task(name="tests.wait_for_own_job", **NO_RETRY)
def wait_for_own_job() -> int:
    """Waits as a task may not, without a limit."""
    return int(add.delay(1, 1).get())


@task(name="tests.wait_for_own_job_async", **NO_RETRY)
async def wait_for_own_job_async() -> int:
    return int(await (await add.delay_async(1, 1)).get_async())


@task(name="tests.call_delay", **NO_RETRY)
def call_delay(x: int) -> str:
    """Submits and does not wait."""
    return add.delay(x, 1).id


@task(name="tests.call_failing", **NO_RETRY)
def call_failing() -> list[str]:
    handle = throw.delay("odd")
    try:
        handle.get(timeout=15, disable_sync_subtasks=False)
    except Exception as error:
        return [type(error).__name__, str(getattr(error, "code", "")), str(getattr(error, "type", ""))]
    return []
