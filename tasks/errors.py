"""Every error of the product that a caller may meet, drawn as a tree; the docstring is the default message.

JobgateError
├── ConfigurationError     a setting or a task module is wrong; the process does not start
├── InvalidSubmission      a submission cannot be accepted; carries a JSON pointer
│   ├── InvalidArguments
│   ├── UnknownTask
│   ├── UnknownQueue
│   ├── InvalidSchedule
│   ├── IdempotencyMismatch
│   └── NotConfigured          this deployment lacks what the task needs; says what to set or to install
├── JobNotFound
├── NotFound               what an address of a pack names is not there
├── ScheduleNotFound
├── ScheduleExists         another schedule has that name
├── BulkNotFound
├── UnknownWorker          no worker of that name shows life
├── StateConflict          the job is not in a state that allows the step
├── Unsupported            this executor cannot do that; see capabilities
├── StoreUnavailable       the store did not answer; nothing was changed that was not confirmed
├── JobFailed              raised by Handle.get() for a job that ended otherwise than in SUCCESS
├── WaitTimeout            raised by Handle.get() when the job is not finished in time
├── SmokeFailed            what a smoke test of a pack expected is not so
└── raised inside a task
    ├── Retry              by the task: run me again later
    ├── FatalError         by the task: fail now, whatever retries are left
    ├── Cancelled          by the context: somebody asked this job to stop
    ├── LeaseLost          by the context: this attempt no longer owns its job
    └── SoftTimeLimitExceeded
"""

from __future__ import annotations

from typing import Any


class JobgateError(Exception):
    """Something went wrong in Jobgate."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (self.__doc__ or "").split("\n")[0]
        super().__init__(self.detail)


class ConfigurationError(JobgateError):
    """A setting is wrong."""


class InvalidSubmission(JobgateError):
    """The submission cannot be accepted.

    `pointer` is the RFC 6901 JSON pointer of the offending value inside the request body.
    """

    def __init__(self, detail: str | None = None, pointer: str = "") -> None:
        super().__init__(detail)
        self.pointer = pointer


class InvalidArguments(InvalidSubmission):
    """The arguments do not fit the task's signature."""


class UnknownTask(InvalidSubmission):
    """No task of that name is registered."""


class UnknownQueue(InvalidSubmission):
    """No queue of that name is configured."""


class InvalidSchedule(InvalidSubmission):
    """The schedule cannot be taken. `field` names the part of a cron expression that is wrong, or is empty."""

    def __init__(self, detail: str | None = None, pointer: str = "", field: str = "") -> None:
        super().__init__(detail, pointer)
        self.field = field


class IdempotencyMismatch(InvalidSubmission):
    """The Idempotency-Key was used before with another body."""


class NotConfigured(InvalidSubmission):
    """This deployment lacks what the task needs."""


class NotFound(JobgateError):
    """There is nothing of that name."""


class JobNotFound(JobgateError):
    """There is no job with that id."""


class ScheduleNotFound(JobgateError):
    """There is no schedule of that id or name."""


class ScheduleExists(JobgateError):
    """Another schedule has that name."""


class BulkNotFound(JobgateError):
    """There is no bulk action with that id."""


class UnknownWorker(JobgateError):
    """No worker of that name shows life."""


class StateConflict(JobgateError):
    """The job is not in a state that allows this."""


class Unsupported(JobgateError):
    """This executor cannot do that."""


class StoreUnavailable(JobgateError):
    """The store did not answer; try again."""


class SchemaMismatch(StoreUnavailable):
    """The store answers, but a table or column of this release is not there, or may not be used."""


class JobFailed(JobgateError):
    """The job did not succeed.

    `code` is one of `tasks.job.ErrorCode`, `type` the exception's class name or None, `traceback` where it was raised.
    """

    def __init__(
        self, detail: str | None = None, code: str = "", type: str | None = None, traceback: str | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.type = type
        self.traceback = traceback


class WaitTimeout(JobgateError):
    """The job has not finished yet."""


class SmokeFailed(JobgateError):
    """Something is not as the smoke test expects it."""


class Retry(JobgateError):
    """The task asks to run again.

    `countdown`: seconds until the next attempt; None leaves it to the task's back-off.
    """

    def __init__(self, detail: str | None = None, countdown: float | None = None) -> None:
        super().__init__(detail)
        if countdown is not None and not 0 <= countdown <= 315_360_000:
            raise ValueError(f"countdown takes seconds from 0 to ten years; got {countdown!r}")
        self.countdown = countdown


class FatalError(JobgateError):
    """The task cannot succeed; it is not retried."""


class Cancelled(JobgateError):
    """Somebody asked this job to stop."""


class LeaseLost(JobgateError):
    """This attempt no longer owns its job; whatever it returns will be refused."""


class SoftTimeLimitExceeded(JobgateError):
    """The job ran past its soft time limit."""


def explain(error: BaseException, limit: int = 8192) -> str:
    """The error's own words, at most `limit` characters, even where its `__str__` is broken."""
    try:
        text = str(error)
    except Exception:  # a task's exception may raise while it is being described
        text = "<the exception could not be described>"
    return printable(text or type(error).__name__, limit)


def printable(text: Any, limit: int = 8192) -> str:
    """`text` without NUL and lone surrogates, which no store takes, cut to `limit` characters."""
    clean = str(text).replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
