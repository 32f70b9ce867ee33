"""The assistant's schedules: what is over is cleared away, and what goes badly is told."""

from __future__ import annotations

import time

from msgspec import Struct

from tasks import Context, schedule, task
from tasks.errors import InvalidSubmission
from tasks.handle import client
from tasks.packs.assistant import delivery
from tasks.packs.assistant.health import Health, examine
from tasks.packs.assistant.notification import send_notification
from tasks.packs.assistant.pack import ASSISTANT

#: Milliseconds after which no job that has delivered something can run again: more than rows of jobs are kept.
_MEMORY = 30 * 86_400_000


class Cleanup(Struct, frozen=True, kw_only=True):
    """Results: `emptied` by this run, `expired` in all as far as their jobs' rows stand, `kept` that can be read still.
    `deliveries`: notes on notifications that were deleted."""

    emptied: int
    expired: int
    kept: int
    deliveries: int


class Check(Health, frozen=True, kw_only=True):
    """`alert`: the job that tells of the problems, if there are any and somebody is to be told."""

    alert: str | None


@schedule(cron="0 2 * * *", timezone="UTC", overlap="skip", type="system")
@task(name="cleanup_expired_results", queue="default", bind=True)
async def cleanup_expired_results(context: Context) -> Cleanup:
    """Empty the results whose time is over; they expire by themselves too, within seconds, and this says how many."""
    results = await client().expire_async()
    deliveries = await delivery.forget(time.time_ns() // 1_000_000 - _MEMORY)
    context.log(f"{results.emptied} results emptied, {results.gone} expired in all, {results.kept} kept")
    return Cleanup(emptied=results.emptied, expired=results.gone, kept=results.kept, deliveries=deliveries)


@schedule(cron="*/30 * * * *", timezone="UTC", overlap="skip", type="system")
@task(name="check_task_health", queue="default", bind=True, max_retries=0)
async def check_task_health(context: Context) -> Check:
    """Look in the record for tasks that fail, queues that are stuck and workers that are gone; tell of it."""
    found = examine(await client().inventory_async(), ASSISTANT.settings)
    for problem in found.problems:
        context.log(problem, "warning")
    return Check(
        **{name: getattr(found, name) for name in Health.__struct_fields__}, alert=await _alert(context, found)
    )


async def _alert(context: Context, found: Health) -> str | None:
    to = ASSISTANT.settings.assistant_alerts
    if found.healthy or not to:
        return None
    words = "\n".join(found.problems)
    try:
        wanted = [list(to), "Jobgate: tasks need a look", words]
        return (await send_notification.submit_once(f"{context.idempotency_key}:alert", wanted)).id
    except InvalidSubmission as error:
        context.log(f"nobody could be told: {error.detail}", "error")
        return None
