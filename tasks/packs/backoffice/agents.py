"""Agents: a stored prompt, model and tools. Their rows; when they run is a matter of schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.errors import NotFound, StateConflict
from tasks.moment import moment, moment_or_none
from tasks.packs.backoffice import tools
from tasks.packs.backoffice.tables import AGENTS, DATABASE, now

Health = Literal["new", "ok", "failing", "overdue"]
Text = Annotated[str, Meta(max_length=20_000)]
#: In an address as well: what a row's id can be.
AgentId = Annotated[int, Meta(ge=1, le=2_147_483_647)]

_A = AGENTS.c


class Agent(Struct, frozen=True, kw_only=True):
    """`model` is "" for the deployment's. `health` is what the check at `checked_at` found."""

    id: int
    name: str
    prompt: str
    instructions: str
    model: str
    tools: tuple[tools.Name, ...]
    health: Health
    health_reason: str
    checked_at: str | None
    created_at: str
    updated_at: str


async def add(tables: AsyncConnection, values: Mapping[str, Any]) -> int:
    """A new one; its id. StateConflict where the name is taken."""
    made = insert(AGENTS).values(**_columns(values), created_at=now(), updated_at=now()).returning(_A.id)
    try:
        return int((await tables.execute(made)).scalar_one())
    except IntegrityError:
        raise StateConflict(f"there is an agent {values['name']!r} already: take another name") from None


async def change(tables: AsyncConnection, agent_id: int, values: Mapping[str, Any]) -> Agent:
    """The changed one. Raises NotFound."""
    await tables.execute(update(AGENTS).where(_A.id == agent_id).values(**_columns(values), updated_at=now()))
    return await find(tables, agent_id)


async def remove(agent_id: int) -> None:
    """With its runs. Raises NotFound."""
    async with DATABASE.writing() as tables:
        await find(tables, agent_id)
        await tables.execute(delete(AGENTS).where(_A.id == agent_id))


async def read(agent_id: int) -> Agent:
    async with DATABASE.reading() as tables:
        return await find(tables, agent_id)


async def every() -> Sequence[Agent]:
    """All, by name."""
    async with DATABASE.reading() as tables:
        return [_agent(row) for row in (await tables.execute(select(AGENTS).order_by(_A.name))).mappings()]


async def find(tables: AsyncConnection, agent_id: int) -> Agent:
    row = (await tables.execute(select(AGENTS).where(_A.id == agent_id))).mappings().first()
    if row is None:
        raise NotFound(f"there is no agent {agent_id}")
    return _agent(row)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    written = {"tools": msgspec.json.encode(values["tools"]).decode()} if "tools" in values else {}
    return {**values, **written}


def _agent(row: Mapping[Any, Any]) -> Agent:
    times = {name: moment(row[name]) for name in ("created_at", "updated_at")}
    listed = msgspec.json.decode(row["tools"], type=tuple[tools.Name, ...])
    return Agent(**{**row, **times, "tools": listed, "checked_at": moment_or_none(row["checked_at"])})
