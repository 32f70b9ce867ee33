"""The tasks: take a sample, add samples up, forget old ones."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks import Context, schedule, task
from tasks.handle import client
from tasks.packs.stats import host, samples
from tasks.packs.stats.samples import Report, Sample
from tasks.packs.stats.settings import STATS

Hours = Annotated[int, Meta(ge=1, le=8760)]


class Forgotten(Struct, frozen=True):
    """How many samples were deleted."""

    samples: int


@schedule(cron="*/5 * * * *")
@task(name="tasks.stats.collect_system_stats", bind=True, max_retries=2)
async def collect_system_stats(context: Context) -> Sample:
    """Measure this host's load, memory and disk, and the record's queues and outcomes, and keep it."""
    record = await client().inventory_async()
    return await samples.keep(context.idempotency_key, host.look(STATS.settings.stats_disk), record)


@task(name="tasks.stats.generate_report", max_retries=2)
async def generate_report(hours: Hours = 24) -> Report:
    """What the samples of the last hours say together."""
    return await samples.report(hours)


@schedule(cron="25 3 * * *")
@task(name="tasks.stats.cleanup_old_stats", max_retries=2)
async def cleanup_old_stats(days: Annotated[int, Meta(ge=1, le=3650)] | None = None) -> Forgotten:
    """Delete samples older than so many days, or than STATS_KEEP_DAYS."""
    return Forgotten(await samples.forget(days or STATS.settings.stats_keep_days))
