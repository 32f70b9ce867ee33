"""What a Python caller holds after submitting a job, and the client it talks through."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from tasks.context import running
from tasks.errors import ConfigurationError, JobFailed, JobNotFound, Unsupported, WaitTimeout
from tasks.inventory import Expiry, Inventory
from tasks.job import Job, Mode, State, Submission
from tasks.schedule import Schedule, Spec


class Client(Protocol):
    """The way from Python code to the record; `executors.client.connect()` makes one and binds it."""

    @property
    def mode(self) -> Mode:
        """Which carrier jobs are meant for now."""

    def submit(self, submission: Submission) -> Handle: ...
    async def submit_async(self, submission: Submission) -> Handle: ...
    async def submit_once_async(self, submission: Submission, key: str) -> Handle:
        """Submit unless a job was submitted under that key before: then that one."""

    def read(self, job_id: str) -> Job | None: ...
    async def read_async(self, job_id: str) -> Job | None: ...
    def wait(self, job_id: str, timeout: float | None) -> Job | None:
        """The job once it is final or `timeout` seconds have passed, whichever is first."""

    async def wait_async(self, job_id: str, timeout: float | None) -> Job | None: ...
    def cancel(self, job_id: str) -> Job: ...
    async def cancel_async(self, job_id: str) -> Job: ...
    async def inventory_async(self) -> Inventory:
        """What the record holds now, in figures: who works, what waits, what failed lately."""

    async def expire_async(self) -> Expiry:
        """Empty the results whose time is over now, instead of soon."""

    async def schedules_async(self, task: str) -> Sequence[Schedule]:
        """Those that make jobs of this task."""

    async def put_schedule_async(self, spec: Spec, enabled: bool = True) -> None:
        """Make it, or change the one of its name into it. Raises InvalidSubmission and its kin."""

    async def drop_schedule_async(self, name: str) -> None:
        """Take it away, if it is there."""

    async def forget_logs_async(self, age: int) -> tuple[int, int]:
        """Delete log lines of ended jobs and decided fire times that are older, in milliseconds; how many of each."""


class _Bound:
    """The process's client; bound once by the process entry or by the caller's `connect()`."""

    client: Client | None = None
    #: The process that bound it: its threads and connections do not exist in a forked copy.
    pid: int | None = None


def bind(client: Client | None) -> None:
    """Make `client` the one that `delay` and handles use in this process."""
    _Bound.client, _Bound.pid = client, os.getpid()


def client() -> Client:
    """The bound client, or ConfigurationError with the remedy."""
    if _Bound.client is None:
        raise ConfigurationError("not connected: call executors.client.connect() once before submitting jobs")
    if _Bound.pid != os.getpid():
        raise ConfigurationError(
            f"connected in process {_Bound.pid}, of which this one, {os.getpid()}, was forked: its connections cannot "
            "be used here. Call executors.client.connect() in each process, after the fork"
        )
    return _Bound.client


class Handle:
    """A submitted job, by id. The `…_async` methods are the same for async callers."""

    def __init__(self, job_id: str) -> None:
        self.id = job_id

    def __repr__(self) -> str:
        return f"<job {self.id}>"

    @property
    def status(self) -> State:
        return self._found(client().read(self.id)).status

    async def status_async(self) -> State:
        return self._found(await client().read_async(self.id)).status

    @property
    def state(self) -> State:
        """The same as `status`."""
        return self.status

    @property
    def result(self) -> Any:
        """What the body returned; the JobFailed of a job that ended otherwise; None while it has not ended."""
        job = self._found(client().read(self.id))
        if not job.is_final:
            return None
        return self._failure(job) or self._outcome(job)

    @property
    def date_done(self) -> datetime | None:
        """When it ended, in UTC; None while it has not."""
        ended = self._found(client().read(self.id)).finished_at
        return None if ended is None else datetime.fromtimestamp(ended / 1000, UTC)

    @property
    def traceback(self) -> str | None:
        """Where the task raised its error, as Python says it; None for a job that has not failed so."""
        return self._found(client().read(self.id)).error_trace

    def successful(self) -> bool:
        return self.status is State.SUCCESS

    def failed(self) -> bool:
        """Whether it ended with an error. A job that was cancelled has not failed."""
        return self.status is State.FAILURE

    def ready(self) -> bool:
        """Whether the job has ended, in whatever way."""
        return self._found(client().read(self.id)).is_final

    async def ready_async(self) -> bool:
        return self._found(await client().read_async(self.id)).is_final

    def get(self, timeout: float | None = None, *, disable_sync_subtasks: bool = True) -> Any:
        """The result. Raises JobFailed if the job ended otherwise, WaitTimeout after `timeout` seconds.

        Raises Unsupported inside a task, unless `disable_sync_subtasks` is False.
        """
        self._refuse_inside_tasks(disable_sync_subtasks)
        return self._outcome(client().wait(self.id, timeout))

    async def get_async(self, timeout: float | None = None, *, disable_sync_subtasks: bool = True) -> Any:
        self._refuse_inside_tasks(disable_sync_subtasks)
        return self._outcome(await client().wait_async(self.id, timeout))

    def cancel(self) -> State:
        """Ask the job to stop; the state it is in now."""
        return client().cancel(self.id).status

    async def cancel_async(self) -> State:
        return (await client().cancel_async(self.id)).status

    def revoke(self, **_: Any) -> State:
        """The same as `cancel`: a job that runs is asked to stop. Celery's `terminate` and `signal` are not needed."""
        return self.cancel()

    def forget(self) -> None:
        """Nothing to do: no result waits for a reader, and each expires by itself after RESULT_EXPIRES."""

    def _refuse_inside_tasks(self, refused: bool) -> None:
        """See docs/decisions/0034-no-waiting-inside-tasks.md."""
        if refused and (waiting := running()) is not None:
            raise Unsupported(
                f"job {waiting.id} may not wait for job {self.id}: it would keep its slot meanwhile, and where every "
                "slot waits so, nothing runs any more. Submit the next step at the end of this task, or hand the id to "
                "whoever needs the result; get(disable_sync_subtasks=False) waits all the same"
            )

    def _found(self, job: Job | None) -> Job:
        if job is None:
            raise JobNotFound(f"there is no job {self.id}")
        return job

    def _failure(self, job: Job) -> JobFailed | None:
        if job.status is State.SUCCESS:
            return None
        return JobFailed(job.error_message, job.error_code or "", job.error_type, job.error_trace)

    def _outcome(self, job: Job | None) -> Any:
        job = self._found(job)
        if not job.is_final:
            raise WaitTimeout(f"job {self.id} is still {job.status}")
        failure = self._failure(job)
        if failure is not None:
            raise failure
        if job.result_expired:
            raise JobNotFound(f"the result of job {self.id} has expired")
        return json.loads(job.result or "null")


#: Celery's name for a job that is looked at by its id: `AsyncResult(id).state`.
AsyncResult = Handle
