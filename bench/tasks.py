"""The task that is measured: it does nothing, so that whatever a job costs is ours."""

from tasks.task import task


@task
def noop() -> None:
    """Nothing."""
