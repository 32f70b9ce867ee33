"""What tests of all systems do with a deployment."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.support.deployment import Deployment
from tests.support.processes import python


def submit(site: Deployment, task: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A job under its owners' name."""
    made = site.post("/api/v1/jobs", {"task": task, "args": args, "kwargs": kwargs})
    assert made.status_code == 202, made.text
    job: dict[str, Any] = made.json()
    return job


def run(site: Deployment, task: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The job, ended."""
    return site.ended(submit(site, task, *args, **kwargs), 60)


def result(site: Deployment, task: str, *args: Any, **kwargs: Any) -> Any:
    """The result of a job that succeeds."""
    job = run(site, task, *args, **kwargs)
    assert job["status"] == "SUCCESS", job["error"]
    return job["result"]


def smoke(site: Deployment, pack: str) -> str:
    """What `jobgate smoke` says of a pack that works."""
    url = str(site.client.base_url)
    command = python("-m", "gateway.cli", "--url", url, "smoke", pack)
    done = subprocess.run(command, check=False, env=site.environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
