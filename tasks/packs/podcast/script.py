"""The script: turns of two speakers; kept with its run, so that a second attempt says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from sqlalchemy import insert, select, update

from tasks.packs.podcast.tables import DATABASE, RUNS, TURNS


class Turn(Struct, frozen=True):
    speaker: str
    text: str


class Script(Struct, frozen=True, kw_only=True):
    """`by`: a model wrote it, or it was drawn from the sources."""

    turns: Sequence[Turn]
    by: Literal["model", "sources"]


async def kept(run_id: str) -> Script | None:
    """The script of a run, if it has one."""
    by = select(RUNS.c.script_by).where(RUNS.c.id == run_id)
    wanted = select(TURNS.c.speaker, TURNS.c.text).where(TURNS.c.run == run_id).order_by(TURNS.c.position)
    async with DATABASE.reading() as tables:
        author = (await tables.execute(by)).scalar_one_or_none()
        turns = [Turn(speaker, text) for speaker, text in await tables.execute(wanted)]
    return Script(turns=turns, by=author) if author is not None else None


async def keep(run_id: str, script: Script) -> Script:
    """Write it down, unless another attempt has written one: that one then."""
    unwritten = update(RUNS).where(RUNS.c.id == run_id, RUNS.c.script_by.is_(None)).values(script_by=script.by)
    rows = [
        {"run": run_id, "position": position, "speaker": turn.speaker, "text": turn.text}
        for position, turn in enumerate(script.turns)
    ]
    async with DATABASE.writing() as tables:
        if (await tables.execute(unwritten)).rowcount:
            await tables.execute(insert(TURNS), rows)
            return script
    there = await kept(run_id)
    return there or script
