"""What a pack's smoke test holds: a way to a running gateway, and a word for what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.errors import NotConfigured, SmokeFailed
from tasks.job import FINAL, State

#: Seconds that one request waits for a job.
_LOOK = 20

#: Method, path and body to the answer's value.
Ask = Callable[[str, str, Any], Any]


class Smoke:
    """A gateway as a smoke test sees it: all over HTTP, as a user would. Problems are raised by `ask` as they come."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any = None) -> Any:
        return self._ask("POST", path, body)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path, None)

    def job(self, task: str, /, *args: Any, looks: int = 15, **kwargs: Any) -> Any:
        """Run a job and wait for it; its result. Raises SmokeFailed, with the job's own words."""
        made = self.post("/api/v1/jobs", {"task": task, "args": args, "kwargs": kwargs})
        return self.wait(made["id"], looks)

    def wait(self, job_id: str, looks: int = 15) -> Any:
        """The result of a job that runs already."""
        job = self.get(f"/api/v1/jobs/{job_id}")
        for _ in range(looks):
            if State(job["status"]) in FINAL:
                break
            job = self.get(f"/api/v1/jobs/{job_id}?wait={_LOOK}")
        if job["status"] != State.SUCCESS:
            why = (job["error"] or {}).get("message") or f"still {job['status']} after {looks * _LOOK} s"
            raise SmokeFailed(f"{job['task']} ({job_id}): {why}")
        return job["result"]

    def needs(self, lack: str) -> None:
        """Raise NotConfigured with what the deployment lacks, unless `lack` is empty."""
        if lack:
            raise NotConfigured(lack)

    def check(self, holds: Any, what: str) -> None:
        """Raise SmokeFailed unless it holds."""
        if not holds:
            raise SmokeFailed(f"not so: {what}")
