"""What scans write and what is counted from it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, case, delete, exists, func, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.errors import FatalError, printable
from tasks.packs.citations.clock import now
from tasks.packs.citations.host import host_of, page_of
from tasks.packs.citations.platforms import Access, Answer
from tasks.packs.citations.tables import CITATIONS, DATABASE, DOMAINS, PROJECTS, PROMPTS, SCANS

#: Pages of one answer, characters of an address, a title, and an answer's text.
MAX_CITATIONS = 200
MAX_URL = 4_000
_MAX_TITLE = 300
_MAX_ANSWER = 20_000
_MAX_ERROR = 500


class Question(Struct, frozen=True):
    """What one job asks, for whom."""

    job_id: str
    project_id: str
    brand: str
    text: str


class Figure(Struct, frozen=True):
    """Of one platform: the citations found, those of the project's own pages, and the cost in US dollars if known."""

    citations: int
    own: int
    cost: float | None


def own() -> ColumnElement[bool]:
    """Whether a citation counts for the project of its scan: by the project's domains and what lies under them."""
    under = CITATIONS.c.host.like(literal("%.").concat(DOMAINS.c.domain))
    of_project = DOMAINS.c.project_id == SCANS.c.project_id
    domain = select(1).where(of_project, or_(CITATIONS.c.host == DOMAINS.c.domain, under))
    return exists(domain.correlate(SCANS, CITATIONS))


async def question(job_id: str, project_id: str, text: str) -> Question:
    """Raises FatalError where there is no such project."""
    async with DATABASE.reading() as tables:
        brand = (await tables.execute(select(PROJECTS.c.brand).where(PROJECTS.c.id == project_id))).scalar()
    if brand is None:
        raise FatalError(f"there is no project {project_id!r}; GET /api/citations/projects lists those that are")
    return Question(job_id, project_id, brand, text)


async def answered(job_id: str) -> Collection[str]:
    """The platforms that have answered the job already."""
    async with DATABASE.reading() as tables:
        found = await tables.execute(select(SCANS.c.platform).where(_of(job_id)))
        return set(found.scalars())


async def keep(question: Question, platform: str, outcome: Answer | str, access: Access | None) -> None:
    """Write an answer with its citations, or what failed. An answer that is there already stays as it is."""
    async with DATABASE.writing() as tables:
        await _lock(tables, question.project_id)
        this = (SCANS.c.job_id == question.job_id) & (SCANS.c.platform == platform)
        state = (await tables.execute(select(SCANS.c.state).where(this))).scalar()
        if state == "answered":
            return
        await tables.execute(delete(SCANS).where(this))
        prompt = select(PROMPTS.c.id).where(
            PROMPTS.c.project_id == question.project_id, PROMPTS.c.text == question.text
        )
        row = {
            "job_id": question.job_id,
            "project_id": question.project_id,
            "prompt_id": (await tables.execute(prompt)).scalar(),
            "prompt_text": question.text,
            "platform": platform,
            "scanned_at": now(),
            **(_failed(outcome) if isinstance(outcome, str) else _answer(outcome, question.brand, access)),
        }
        scan = (await tables.execute(insert(SCANS).values(row).returning(SCANS.c.id))).scalar_one()
        if not isinstance(outcome, str) and (rows := citations_of(outcome)):
            await tables.execute(insert(CITATIONS), [{"scan_id": scan, **row} for row in rows])


async def figures(job_id: str) -> dict[str, Figure]:
    """What the job has found, by platform; of those that answered."""
    found = func.count(CITATIONS.c.position)
    counts = func.coalesce(func.sum(case((own(), 1), else_=0)), 0)
    wanted = (
        select(SCANS.c.platform, found, counts, SCANS.c.cost_micros)
        .outerjoin_from(SCANS, CITATIONS, CITATIONS.c.scan_id == SCANS.c.id)
        .where(_of(job_id))
        .group_by(SCANS.c.id, SCANS.c.platform, SCANS.c.cost_micros)
        .order_by(SCANS.c.platform)
    )
    async with DATABASE.reading() as tables:
        rows = (await tables.execute(wanted)).all()
    return {platform: Figure(citations, own, dollars(cost)) for platform, citations, own, cost in rows}


def citations_of(answer: Answer) -> list[dict[str, Any]]:
    """The rows of an answer's citations: each page once, where it stood first; what is no web address is left out."""
    pages: dict[str, dict[str, Any]] = {}
    for source in answer.sources:
        host, url = host_of(source.url), printable(source.url.strip(), MAX_URL)
        if host is not None and page_of(source.url) not in pages and len(pages) < MAX_CITATIONS:
            row = {"url": url, "host": host, "title": printable(source.title, _MAX_TITLE)}
            pages[page_of(source.url)] = {"position": len(pages) + 1, **row}
    return list(pages.values())


def names(brand: str, text: str) -> bool:
    """Whether the text has the brand as words of its own; of Chinese, as characters."""
    if not brand:
        return False
    plain = re.escape(brand.casefold())
    edge = r"(?<![a-z0-9])", r"(?![a-z0-9])"
    return re.search(f"{edge[0]}{plain}{edge[1]}", text.casefold()) is not None


def dollars(micros: int | None) -> float | None:
    return None if micros is None else micros / 1_000_000


def _of(job_id: str) -> ColumnElement[bool]:
    return (SCANS.c.job_id == job_id) & (SCANS.c.state == "answered")


async def _lock(tables: AsyncConnection, project_id: str) -> None:
    """One writer a project, so that two attempts of one job do not write the same; the project stays meanwhile."""
    wanted: Select[Any] = select(PROJECTS.c.id).where(PROJECTS.c.id == project_id).with_for_update()
    if (await tables.execute(wanted)).scalar() is None:
        raise FatalError(f"project {project_id!r} was deleted meanwhile")


def _failed(words: str) -> dict[str, Any]:
    return {"state": "failed", "error": printable(words, _MAX_ERROR)}


def _answer(answer: Answer, brand: str, access: Access | None) -> dict[str, Any]:
    return {
        "state": "answered",
        "answer": printable(answer.text, _MAX_ANSWER),
        "names_brand": names(brand, answer.text),
        "tokens_read": answer.tokens_read,
        "tokens_written": answer.tokens_written,
        "cost_micros": cost_micros(answer, access),
    }


def cost_micros(answer: Answer, access: Access | None) -> int | None:
    """What the platform says, or what the deployment's prices make of its counts; None where neither tells."""
    if answer.cost is not None:
        return max(0, round(answer.cost * 1_000_000))
    if access is None or not access.prices:
        return None
    read, written, search = access.prices
    # A price for a million tokens in dollars is one for a token in millionths.
    tokens = (answer.tokens_read or 0) * read + (answer.tokens_written or 0) * written
    return round(tokens + answer.searches * search * 1_000_000)
