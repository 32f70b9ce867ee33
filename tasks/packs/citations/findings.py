"""The addresses of scans and of the citations that they found."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select

from tasks.address import address
from tasks.moment import moment
from tasks.packs.citations.projects import require
from tasks.packs.citations.record import dollars, own
from tasks.packs.citations.scan import scan_prompt_citations
from tasks.packs.citations.tables import CITATIONS, DATABASE, SCANS
from tasks.packs.citations.view import (
    Citation,
    CitationPage,
    CitationQuery,
    Id,
    NewScan,
    Scan,
    ScanPage,
    ScanQuery,
    ScanStarted,
)

_SCAN = ("id", "job_id", "prompt_id", "prompt_text", "platform", "state", "error", "names_brand", "tokens_read",
         "tokens_written", "scanned_at")  # fmt: skip  # one line a part
_CITATION = ("scan_id", "position", "url", "host", "title")
_OF_SCAN = ("platform", "prompt_text", "scanned_at")


@address("POST", "/api/citations/projects/{project_id}/scans", status=202)
async def start_scan(project_id: Id, body: NewScan) -> ScanStarted:
    """Scan a prompt now; the job is `scan_prompt_citations`."""
    async with DATABASE.reading() as tables:
        await require(tables, project_id)
    wish = {"prompt_text": body.prompt_text, "project_id": project_id, "platforms": body.platforms}
    return ScanStarted((await scan_prompt_citations.submit_async((), wish)).id)


@address("GET", "/api/citations/projects/{project_id}/scans")
async def list_scans(project_id: Id, query: ScanQuery) -> ScanPage:
    """List a project's scans, newest first."""
    mine = CITATIONS.c.scan_id == SCANS.c.id
    found = select(func.count()).select_from(CITATIONS).where(mine).correlate(SCANS).scalar_subquery()
    counted = select(func.count()).select_from(CITATIONS).where(mine, own()).correlate(SCANS).scalar_subquery()
    wanted = select(
        *(SCANS.c[name] for name in _SCAN), SCANS.c.cost_micros, found.label("citations"), counted.label("own")
    )
    wanted = _filtered(wanted, project_id, query).order_by(SCANS.c.id.desc()).limit(query.limit)
    async with DATABASE.reading() as tables:
        await require(tables, project_id)
        return ScanPage([_scan(row) for row in (await tables.execute(wanted)).mappings()])


@address("GET", "/api/citations/projects/{project_id}/citations")
async def list_citations(project_id: Id, query: CitationQuery) -> CitationPage:
    """List the citations that a project's scans found, newest scans first."""
    latest = _filtered(select(SCANS.c.id), project_id, query).order_by(SCANS.c.id.desc()).limit(query.limit)
    wanted = (
        select(*(CITATIONS.c[name] for name in _CITATION), *(SCANS.c[name] for name in _OF_SCAN), own().label("own"))
        .join(SCANS, SCANS.c.id == CITATIONS.c.scan_id)
        .order_by(CITATIONS.c.scan_id.desc(), CITATIONS.c.position)
    )
    if query.own is not None:
        wanted = wanted.where(own() if query.own else ~own())
    async with DATABASE.reading() as tables:
        await require(tables, project_id)
        scans = (await tables.execute(latest)).scalars().all()
        rows = (await tables.execute(wanted.where(CITATIONS.c.scan_id.in_(scans)))).mappings()
        found = [Citation(**{**row, "scanned_at": moment(row["scanned_at"])}) for row in rows]
    return CitationPage(found, scans[-1] if len(scans) == query.limit else None)


def _filtered(wanted: Select[Any], project_id: str, query: ScanQuery | CitationQuery) -> Select[Any]:
    """Those of the project that the query asks for."""
    wanted = wanted.where(SCANS.c.project_id == project_id)
    for name in ("platform", "state", "job_id"):
        value = getattr(query, name, None)
        if value is not None:
            wanted = wanted.where(SCANS.c[name] == value)
    return wanted if query.before is None else wanted.where(SCANS.c.id < query.before)


def _scan(row: Any) -> Scan:
    named = {name: row[name] for name in (*_SCAN, "citations", "own")}
    return Scan(**{**named, "cost": dollars(row["cost_micros"]), "scanned_at": moment(row["scanned_at"])})
