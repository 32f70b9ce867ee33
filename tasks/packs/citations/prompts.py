"""The addresses of prompts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tasks.address import address
from tasks.errors import NotFound, StateConflict
from tasks.moment import moment
from tasks.packs.citations.clock import now
from tasks.packs.citations.projects import require
from tasks.packs.citations.tables import DATABASE, PROMPTS
from tasks.packs.citations.view import Id, NewPrompt, Number, Prompt, PromptChange, PromptPage, PromptQuery

_PATH = "/api/citations/projects/{project_id}/prompts"


@address("POST", _PATH, status=201)
async def create_prompt(project_id: Id, body: NewPrompt) -> Prompt:
    """Add a prompt to a project."""
    values = {"project_id": project_id, "text": body.text, "priority": body.priority, "created_at": now()}
    async with DATABASE.writing() as tables:
        await require(tables, project_id, lock=True)
        try:
            made = await tables.execute(insert(PROMPTS).values(values).returning(PROMPTS))
        except IntegrityError as error:
            raise _there(project_id) from error
        return _view(made.mappings().one())


@address("GET", _PATH)
async def list_prompts(project_id: Id, query: PromptQuery) -> PromptPage:
    """List a project's prompts in the order of their ids."""
    mine = (PROMPTS.c.project_id == project_id) & (PROMPTS.c.id > query.after)
    wanted = select(PROMPTS).where(mine).order_by(PROMPTS.c.id).limit(query.limit)
    if query.priority is not None:
        wanted = wanted.where(PROMPTS.c.priority == query.priority)
    async with DATABASE.reading() as tables:
        await require(tables, project_id)
        return PromptPage([_view(row) for row in (await tables.execute(wanted)).mappings()])


@address("PATCH", f"{_PATH}/{{prompt_id}}", scope="submit")
async def change_prompt(project_id: Id, prompt_id: Number, body: PromptChange) -> Prompt:
    """Change a prompt."""
    given = {"text": body.text, "priority": body.priority}
    values = {name: value for name, value in given.items() if value is not None}
    # Without any it is written as it is, and so found.
    change = update(PROMPTS).where(_this(project_id, prompt_id)).values(values or {"project_id": project_id})
    async with DATABASE.writing() as tables:
        try:
            row = (await tables.execute(change.returning(PROMPTS))).mappings().one_or_none()
        except IntegrityError as error:
            raise _there(project_id) from error
    if row is None:
        raise _unknown(project_id, prompt_id)
    return _view(row)


@address("DELETE", f"{_PATH}/{{prompt_id}}")
async def delete_prompt(project_id: Id, prompt_id: Number) -> None:
    """Delete a prompt; what was found with it stays."""
    async with DATABASE.writing() as tables:
        gone = await tables.execute(delete(PROMPTS).where(_this(project_id, prompt_id)).returning(PROMPTS.c.id))
        if gone.scalar() is None:
            raise _unknown(project_id, prompt_id)


def _this(project_id: str, prompt_id: int) -> Any:
    return (PROMPTS.c.project_id == project_id) & (PROMPTS.c.id == prompt_id)


def _view(row: Any) -> Prompt:
    return Prompt(**{**row, "created_at": moment(row["created_at"])})


def _there(project_id: str) -> StateConflict:
    return StateConflict(f"project {project_id!r} has a prompt of that text already: change its priority")


def _unknown(project_id: str, prompt_id: int) -> NotFound:
    return NotFound(f"project {project_id[:100]!r} has no prompt {prompt_id}")
