"""What a Python caller holds after submitting a job, and the client it talks through."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from tasks.errors import ConfigurationError, JobFailed, JobNotFound, WaitTimeout
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


def bind(client: Client | None) -> None:
    """Make `client` the one that `delay` and handles use in this process."""
    _Bound.client = client


def client() -> Client:
    """The bound client, or ConfigurationError with the remedy."""
    if _Bound.client is None:
        raise ConfigurationError("not connected: call executors.client.connect() once before submitting jobs")
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

    def ready(self) -> bool:
        """Whether the job has ended, in whatever way."""
        return self._found(client().read(self.id)).is_final

    async def ready_async(self) -> bool:
        return self._found(await client().read_async(self.id)).is_final

    def get(self, timeout: float | None = None) -> Any:
        """The result. Raises JobFailed if the job ended otherwise, WaitTimeout after `timeout` seconds."""
        return self._outcome(client().wait(self.id, timeout))

    async def get_async(self, timeout: float | None = None) -> Any:
        return self._outcome(await client().wait_async(self.id, timeout))

    def cancel(self) -> State:
        """Ask the job to stop; the state it is in now."""
        return client().cancel(self.id).status

    async def cancel_async(self) -> State:
        return (await client().cancel_async(self.id)).status

    def _found(self, job: Job | None) -> Job:
        if job is None:
            raise JobNotFound(f"there is no job {self.id}")
        return job

    def _outcome(self, job: Job | None) -> Any:
        job = self._found(job)
        if not job.is_final:
            raise WaitTimeout(f"job {self.id} is still {job.status}")
        if job.status is not State.SUCCESS:
            raise JobFailed(job.error_message, job.error_code or "", job.error_type)
        if job.result_expired:
            raise JobNotFound(f"the result of job {self.id} has expired")
        return json.loads(job.result or "null")
