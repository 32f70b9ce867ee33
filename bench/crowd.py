"""A hundred tasks, for the scrape that shows them all."""

from tasks.task import Task

SIZE = 100


def _nothing() -> None:
    """Nothing."""


# A module's names are what TASK_MODULES looks through.
globals().update({f"task_{n}": Task(_nothing, name=f"crowd.task_{n}") for n in range(SIZE)})
