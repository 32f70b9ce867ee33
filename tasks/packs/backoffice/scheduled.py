"""The tasks `scheduled_task.*`: one to try schedules with, and one that clears away what they leave behind."""

from __future__ import annotations

import time
from typing import Annotated

from msgspec import Meta

from tasks import Context, schedule, task
from tasks.handle import client
from tasks.moment import moment
from tasks.packs.backoffice import runs, sessions
from tasks.packs.backoffice.auth import Days


@task(name="scheduled_task.test_task", bind=True, max_retries=0, time_limit=60)
async def run_test(context: Context, message: Annotated[str, Meta(max_length=1000)] = "works") -> dict[str, str]:
    """Say that it ran: in the job's log, and as its result."""
    context.log(f"test task: {message}")
    return {"message": message, "job_id": context.id, "queue": context.job.queue, "at": moment(_now())}


@schedule(cron="0 4 * * *", overlap="skip", type="system")
@task(name="scheduled_task.cleanup_old_logs", queue="priority_low", bind=True, time_limit=600)
async def cleanup_old_logs(context: Context, days: Days = 30) -> dict[str, int]:
    """Delete what was written more than `days` ago: log lines of ended jobs, decided fire times of schedules,
    ended runs of agents, figures of sessions; how many of each."""
    lines, fire_times = await client().forget_logs_async(days * sessions.DAY)
    context.check()
    return {
        "log_lines": lines,
        "fire_times": fire_times,
        "agent_runs": await runs.forget(days),
        "session_statistics": await sessions.forget_noted(days),
    }


def _now() -> int:
    return time.time_ns() // 1_000_000
