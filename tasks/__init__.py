"""What a task author needs."""

from tasks.context import Context, current
from tasks.declaration import schedule
from tasks.errors import Cancelled, FatalError, LeaseLost, Retry, SoftTimeLimitExceeded
from tasks.handle import AsyncResult, Handle
from tasks.task import BaseTaskWithRetry, Task, async_task, task

__all__ = [
    "AsyncResult",
    "BaseTaskWithRetry",
    "Cancelled",
    "Context",
    "FatalError",
    "Handle",
    "LeaseLost",
    "Retry",
    "SoftTimeLimitExceeded",
    "Task",
    "async_task",
    "current",
    "schedule",
    "task",
]
