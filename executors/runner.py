"""One attempt of one job: call the task, and turn whatever happens into a step. It writes nothing."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import sys
import time
import traceback
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from executors import results
from executors.body import Interruption
from executors.logs import log_outcome
from tasks import step
from tasks.context import Context, enter
from tasks.errors import (
    Cancelled,
    FatalError,
    InvalidArguments,
    LeaseLost,
    Retry,
    SoftTimeLimitExceeded,
    explain,
    printable,
)
from tasks.job import Attempt, ErrorCode
from tasks.masking import mask_credentials, mask_secrets
from tasks.registry import Registry
from tasks.step import Failure, Step
from tasks.task import Task

#: Characters of a traceback that are kept: its end, where the cause is.
TRACE_LENGTH = 16_384


class Runner:
    """Performs attempts. `max_result` is the largest result in bytes of JSON."""

    def __init__(self, registry: Registry, max_result: int) -> None:
        self._registry = registry
        self._max_result = max_result

    def is_async(self, attempt: Attempt) -> bool:
        task = self._registry.find(attempt.task)
        return task is not None and task.is_async

    def knows(self, attempt: Attempt) -> bool:
        """Whether its task is registered in this process."""
        return attempt.task in self._registry

    def perform(self, attempt: Attempt, context: Context, guard: Callable[[Callable[[], Any]], Any]) -> Step:
        """Run a sync task in this thread. `guard(call)` makes the call in a way that it can be interrupted.

        In an empty context: a body sees no context variable that another job of the thread has set.
        """
        step = contextvars.Context().run(self._perform, attempt, context, guard)
        log_outcome(attempt, step)
        return step

    def _perform(self, attempt: Attempt, context: Context, guard: Callable[[Callable[[], Any]], Any]) -> Step:
        started, process = time.perf_counter(), os.getpid()
        try:
            context.check()  # it may have been stopped while it waited for its thread
            call = self._call(attempt, context)
            enter(context)
            result = guard(call)
            _end_copy(process)
            return self._succeed(attempt, result, started)
        except BaseException as error:  # whatever a task raises, even SystemExit, ends its attempt and nothing else
            _end_copy(process, error)
            return self._decide(attempt, error, time.perf_counter() - started)

    async def perform_async(self, attempt: Attempt, context: Context, interruption: Interruption) -> Step:
        """Run an async task on this loop."""
        step = await self._perform_async(attempt, context, interruption)
        log_outcome(attempt, step)
        return step

    async def _perform_async(self, attempt: Attempt, context: Context, interruption: Interruption) -> Step:
        started = time.perf_counter()
        try:
            interruption.check()  # it may have been stopped while it waited for its loop
            call = self._call(attempt, context)
            enter(context)
            return self._succeed(attempt, await _steer(call(), interruption), started)
        except BaseException as error:  # as above
            return self._decide(attempt, error, time.perf_counter() - started)

    def _call(self, attempt: Attempt, context: Context) -> Callable[[], Any]:
        task = self._registry.find(attempt.task)
        if task is None:
            raise _Unregistered(attempt.task, self._registry)
        args, kwargs = task.signature.convert(*json.loads(attempt.arguments))
        function = task.function
        return (lambda: function(context, *args, **kwargs)) if task.bind else (lambda: function(*args, **kwargs))

    def _succeed(self, attempt: Attempt, result: Any, started: float) -> Step:
        runtime = time.perf_counter() - started
        try:
            text = results.encode(result, self._max_result)
        except results.TooLarge as error:
            has = f"more than {self._max_result}" if error.size is None else str(error.size)
            words = f"the task ran, but its result has {has} bytes of JSON; the limit is {self._max_result}"
            return step.fail(attempt, Failure(code=ErrorCode.RESULT_TOO_LARGE, message=words), runtime)
        except (TypeError, ValueError, RecursionError) as error:
            words = f"the task ran, but its result is not JSON: {explain(error, 500)}"
            return step.fail(attempt, Failure(code=ErrorCode.RESULT_NOT_SERIALISABLE, message=words), runtime)
        return step.succeed(attempt, text, runtime)

    def _decide(self, attempt: Attempt, error: BaseException, runtime: float) -> Step:
        if isinstance(error, Cancelled):
            return step.stop(attempt, runtime)
        if isinstance(error, LeaseLost):
            return step.interrupt(attempt)
        failure = _failure(error)
        if not isinstance(error, _FINAL) and attempt.failures < attempt.max_retries:
            return step.retry(attempt, failure, self._delay(attempt, error), runtime)
        return step.fail(attempt, failure, runtime)

    def _delay(self, attempt: Attempt, error: BaseException) -> float:
        if isinstance(error, Retry) and error.countdown is not None:
            return max(0.0, error.countdown)
        task: Task[..., Any] = self._registry.get(attempt.task)
        return task.retry.delay(attempt.failures + 1)


class _Unregistered(FatalError):
    """The task is not registered in this process."""

    def __init__(self, name: str, registry: Registry) -> None:
        known = ", ".join(sorted(task.name for task in registry)[:20])
        super().__init__(f"task {name!r} is not registered on this worker; check its TASK_MODULES. It knows: {known}")


def _end_copy(process: int, error: BaseException | None = None) -> None:
    """Ends this process if the task function forked it from `process` and it came to the end of the function, with
    `error` if one was raised: the outcome of the job is that of the original process."""
    if os.getpid() == process:
        return
    code: Any = None if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code
    elif error is not None:
        traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


_FINAL = (FatalError, InvalidArguments)


def _failure(error: BaseException) -> Failure:
    """Why the attempt failed. What a user's code raised has a traceback; our own findings need none."""
    if isinstance(error, _Unregistered):
        return Failure(code=ErrorCode.UNKNOWN_TASK, message=error.detail)
    if isinstance(error, InvalidArguments):
        return Failure(code=ErrorCode.INVALID_ARGUMENTS, message=f"{error.pointer}: {error.detail}")
    code = ErrorCode.TIMEOUT if isinstance(error, SoftTimeLimitExceeded) else ErrorCode.TASK_ERROR
    try:
        # Masked with a margin, so that the cut parts no secret from its name.
        end = mask_secrets("".join(traceback.format_exception(error))[-2 * TRACE_LENGTH :])
        trace = printable(end[-TRACE_LENGTH:], TRACE_LENGTH)
    except Exception:  # a broken __str__ breaks the traceback's last line too
        trace = None
    return Failure(code=code, message=mask_credentials(explain(error)), type=type(error).__name__, trace=trace)


def overran(attempt: Attempt) -> Step:
    """The step of an attempt that ran past its hard limit."""
    message = f"it ran past its time limit of {attempt.time_limit:g} s" if attempt.time_limit else "time limit"
    return step.fail(attempt, Failure(code=ErrorCode.TIMEOUT, message=message), attempt.time_limit)


def strand(attempt: Attempt, begun: bool) -> Step:
    """The step of an attempt that could not run because another body blocks its loop: it is not its fault.

    It goes back to wait, except where the body has begun and must not run twice.
    """
    if attempt.max_losses or not begun:
        return step.interrupt(attempt)
    message = "another task blocked the event loop of this one, and its max_losses=0 lets it run once only"
    return step.fail(attempt, Failure(code=ErrorCode.WORKER_LOST, message=message), None)


@types.coroutine
def _steer(body: Coroutine[Any, Any, Any], interruption: Interruption) -> Generator[Any, Any, Any]:
    """Drive `body`, raising the interruption's reason inside it where asyncio would raise CancelledError."""
    resume: Callable[[Any], Any] = body.send
    value: Any = None
    while True:
        try:
            waited_for = resume(value)
        except StopIteration as stop:
            return stop.value
        try:
            value = yield waited_for
            if interruption.reason is LeaseLost:  # it may run elsewhere: not one step more
                raise asyncio.CancelledError
            resume = body.send
        except asyncio.CancelledError as cancelled:
            resume, value = body.throw, interruption.take() or cancelled
        except BaseException as error:
            resume, value = body.throw, error
