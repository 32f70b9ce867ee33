"""The daily and the weekly scan: a job for each prompt that is due."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct
from sqlalchemy import func, select

from tasks import Context, FatalError, schedule, task
from tasks.packs.citations.scan import QUEUE, configured, lacks, scan_prompt_citations
from tasks.packs.citations.tables import DATABASE, PROJECTS, PROMPTS, SCANS

DAILY_PROMPTS = 10
WEEKLY_PROMPTS = 50
#: Jobs that are submitted between two looks at whether the round is to stop.
_STRIDE = 50


class Round(Struct, frozen=True, kw_only=True):
    """The result: how many projects and prompts are scanned, and by which jobs."""

    projects: int
    prompts: int
    jobs: list[str]


class Due(Struct, frozen=True):
    """A prompt to be scanned."""

    id: int
    project_id: str
    text: str


@schedule(cron="0 2 * * *", timezone="UTC", type="system")
@task(name="scheduled_citation_scan", queue=QUEUE, bind=True, soft_time_limit=600, time_limit=900)
async def scheduled_citation_scan(context: Context) -> Round:
    """Scan the P0 and P1 prompts of every active project, at most ten of each."""
    return await _scan(context, ("P0", "P1"), DAILY_PROMPTS)


@schedule(cron="0 3 * * mon", timezone="UTC", type="system")
@task(name="weekly_comprehensive_scan", queue=QUEUE, bind=True, soft_time_limit=600, time_limit=900)
async def weekly_comprehensive_scan(context: Context) -> Round:
    """Scan all prompts of every active project, at most fifty of each."""
    return await _scan(context, ("P0", "P1", "P2"), WEEKLY_PROMPTS)


async def _scan(context: Context, priorities: Collection[str], most: int) -> Round:
    # A schedule that could not fire would keep the gateway from starting: it fires, and says what is missing.
    if lack := lacks():
        raise FatalError(lack)
    prompts = await due(priorities, most)
    # Spread as far as the slowest platform needs it, so that no job waits for its turn in a slot.
    interval = max(access.interval for access in configured().values()) / 1000
    jobs: list[str] = []
    for number, prompt in enumerate(prompts):
        if number % _STRIDE == 0:
            context.progress(number, len(prompts), "submitting")
        key = f"{context.idempotency_key}:{prompt.id}"
        wish = {"prompt_text": prompt.text, "project_id": prompt.project_id}
        jobs.append((await scan_prompt_citations.submit_once(key, (), wish, countdown=number * interval)).id)
    return Round(projects=len({prompt.project_id for prompt in prompts}), prompts=len(prompts), jobs=jobs)


async def due(priorities: Collection[str], most: int) -> Sequence[Due]:
    """At most so many prompts of each active project: the most important first, and of those the longest unseen."""
    seen = (
        select(func.coalesce(func.max(SCANS.c.scanned_at), 0))
        .where(SCANS.c.prompt_id == PROMPTS.c.id)
        .scalar_subquery()
    )
    order = (PROMPTS.c.priority, seen, PROMPTS.c.id)
    place = func.row_number().over(partition_by=PROMPTS.c.project_id, order_by=order).label("place")
    ranked = (
        select(PROMPTS.c.id, PROMPTS.c.project_id, PROMPTS.c.text, place)
        .join(PROJECTS, PROJECTS.c.id == PROMPTS.c.project_id)
        .where(PROJECTS.c.active, PROMPTS.c.priority.in_(priorities))
        .subquery()
    )
    wanted = select(ranked.c.id, ranked.c.project_id, ranked.c.text).where(ranked.c.place <= most)
    async with DATABASE.reading() as tables:
        rows = await tables.execute(wanted.order_by(ranked.c.place, ranked.c.project_id))
        return [Due(*row) for row in rows]
