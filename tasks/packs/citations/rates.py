"""`update_citation_rates`: how often the platforms cite each project."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import case, exists, func, select, update

from tasks import schedule, task
from tasks.packs.citations.clock import now
from tasks.packs.citations.record import own
from tasks.packs.citations.scan import QUEUE
from tasks.packs.citations.tables import CITATIONS, DATABASE, PROJECTS, SCANS

DAYS = 30
_DAY = 86_400_000


class Rated(Struct, frozen=True, kw_only=True):
    """The result. `unscanned` projects have no answer in those days, and so no rate."""

    projects: int
    unscanned: int
    days: int


@schedule(cron="0 4 * * *", timezone="UTC", type="system")
@task(name="update_citation_rates", queue=QUEUE, soft_time_limit=300, time_limit=360)
async def update_citation_rates() -> Rated:
    """Write to each project the share of the last 30 days' answers that cite one of its pages."""
    moment = now()
    cites = exists(select(1).where(CITATIONS.c.scan_id == SCANS.c.id, own()).correlate(SCANS))
    rate = (
        select(func.avg(case((cites, 1.0), else_=0.0)))
        .where(
            SCANS.c.project_id == PROJECTS.c.id,
            SCANS.c.state == "answered",
            SCANS.c.scanned_at > moment - DAYS * _DAY,
        )
        .correlate(PROJECTS)
        .scalar_subquery()
    )
    written = update(PROJECTS).values(citation_rate=rate, rated_at=moment).returning(PROJECTS.c.citation_rate)
    async with DATABASE.writing() as tables:
        rates = (await tables.execute(written)).scalars().all()
    return Rated(projects=len(rates), unscanned=sum(each is None for each in rates), days=DAYS)
