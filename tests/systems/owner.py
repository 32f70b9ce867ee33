"""What an owner does on a deployment with all packs: requests, jobs, smoke commands."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.support.deployment import JOBS, Deployment
from tests.support.processes import clean_environment, python


def call(site: Deployment, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = site.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def run(site: Deployment, task: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The job at its end; it ran in the deployment's own mode."""
    made = call(site, "POST", JOBS, {"task": task, "args": args, "kwargs": kwargs}, 202)
    job = site.ended(made, within=60)
    assert job["mode"] == site.mode
    return job


def smoke(site: Deployment, pack: str) -> str:
    """What `jobgate smoke` says, which must be that all is well."""
    command = python("-m", "gateway.cli", "--url", str(site.client.base_url), "smoke", pack)
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
