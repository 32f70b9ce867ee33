"""The addresses of projects."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.address import address
from tasks.errors import InvalidArguments, NotFound, StateConflict
from tasks.moment import moment, moment_or_none
from tasks.packs.citations.clock import now
from tasks.packs.citations.host import domain_of
from tasks.packs.citations.tables import DATABASE, DOMAINS, PROJECTS
from tasks.packs.citations.view import Id, NewProject, Project, ProjectChange, ProjectPage, ProjectQuery


@address("POST", "/api/citations/projects", status=201)
async def create_project(body: NewProject) -> Project:
    """Make a project."""
    domains, project_id = clean(body.domains), body.id or str(uuid.uuid4())
    told = {"name": body.name, "brand": body.brand, "active": body.active}
    async with DATABASE.writing() as tables:
        try:
            await tables.execute(insert(PROJECTS).values(id=project_id, created_at=now(), **told))
        except IntegrityError as error:
            raise StateConflict(f"there is a project {project_id!r} already: change it, or give another id") from error
        await _set_domains(tables, project_id, domains)
        return await _one(tables, project_id)


@address("GET", "/api/citations/projects")
async def list_projects(query: ProjectQuery) -> ProjectPage:
    """List projects in the order of their ids."""
    wanted = select(PROJECTS).where(PROJECTS.c.id > (query.after or "")).order_by(PROJECTS.c.id).limit(query.limit)
    if query.active is not None:
        wanted = wanted.where(PROJECTS.c.active.is_(query.active))
    if query.id is not None:
        wanted = wanted.where(PROJECTS.c.id == query.id)
    async with DATABASE.reading() as tables:
        return ProjectPage(await _views(tables, (await tables.execute(wanted)).mappings().all()))


@address("GET", "/api/citations/projects/{project_id}")
async def read_project(project_id: Id) -> Project:
    """Read a project."""
    async with DATABASE.reading() as tables:
        return await _one(tables, project_id)


@address("PATCH", "/api/citations/projects/{project_id}", scope="submit")
async def change_project(project_id: Id, body: ProjectChange) -> Project:
    """Change a project. New domains count for what was found before, too."""
    given = {"name": body.name, "brand": body.brand, "active": body.active}
    values = {name: value for name, value in given.items() if value is not None}
    domains = None if body.domains is None else clean(body.domains)
    async with DATABASE.writing() as tables:
        await require(tables, project_id, lock=True)
        if values:
            await tables.execute(update(PROJECTS).where(PROJECTS.c.id == project_id).values(values))
        if domains is not None:
            await tables.execute(delete(DOMAINS).where(DOMAINS.c.project_id == project_id))
            await _set_domains(tables, project_id, domains)
        return await _one(tables, project_id)


@address("DELETE", "/api/citations/projects/{project_id}")
async def delete_project(project_id: Id) -> None:
    """Delete a project with its prompts, scans and citations."""
    async with DATABASE.writing() as tables:
        gone = await tables.execute(delete(PROJECTS).where(PROJECTS.c.id == project_id).returning(PROJECTS.c.id))
        if gone.scalar() is None:
            raise _unknown(project_id)


async def require(tables: AsyncConnection, project_id: str, lock: bool = False) -> None:
    """NotFound unless the project is there."""
    wanted = select(PROJECTS.c.id).where(PROJECTS.c.id == project_id)
    if (await tables.execute(wanted.with_for_update() if lock else wanted)).scalar() is None:
        raise _unknown(project_id)


def clean(domains: Iterable[str]) -> list[str]:
    """Each once, as hosts are written. Raises InvalidArguments."""
    found: dict[str, None] = {}
    for number, text in enumerate(domains):
        domain = domain_of(text)
        if domain is None:
            words = f"{text!r} is no domain: give one such as example.com, without scheme, port and path"
            raise InvalidArguments(words, f"/domains/{number}")
        found[domain] = None
    return list(found)


async def _set_domains(tables: AsyncConnection, project_id: str, domains: Sequence[str]) -> None:
    await tables.execute(insert(DOMAINS), [{"project_id": project_id, "domain": domain} for domain in domains])


async def _one(tables: AsyncConnection, project_id: str) -> Project:
    rows = (await tables.execute(select(PROJECTS).where(PROJECTS.c.id == project_id))).mappings().all()
    if not rows:
        raise _unknown(project_id)
    return (await _views(tables, rows))[0]


async def _views(tables: AsyncConnection, rows: Sequence[Any]) -> list[Project]:
    wanted = select(DOMAINS).where(DOMAINS.c.project_id.in_([row["id"] for row in rows])).order_by(DOMAINS.c.domain)
    domains: dict[str, list[str]] = {row["id"]: [] for row in rows}
    for project_id, domain in (await tables.execute(wanted)).all():
        domains[project_id].append(domain)
    return [
        Project(
            **{
                **row,
                "domains": domains[row["id"]],
                "rated_at": moment_or_none(row["rated_at"]),
                "created_at": moment(row["created_at"]),
            }
        )
        for row in rows
    ]


def _unknown(project_id: str) -> NotFound:
    return NotFound(f"there is no project {project_id[:100]!r}; GET /api/citations/projects lists those that are")
