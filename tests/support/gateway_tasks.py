"""A task that only the gateway knows, as after a deployment that forgot its workers."""

from __future__ import annotations

from tasks import task


@task(name="tests.forgotten", max_retries=3)
def forgotten() -> None: ...
