"""Conversations as their jobs share them: one question is answered at a time, and each once.

A job holds the conversation while its question is being answered; another one waits for it, or takes over from one
that does not run any more. What it writes then counts only if it holds the conversation still.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from msgspec import Struct
from sqlalchemy import delete, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks import Context
from tasks.errors import FatalError, Retry
from tasks.handle import client
from tasks.job import State
from tasks.packs.assistant.tables import CONVERSATIONS, DATABASE, MESSAGES

#: Seconds between two looks whether the conversation is free.
PAUSE = 0.25
_MAKE = text("""INSERT INTO assistant_conversations (id, user_id, created_at, updated_at)
    VALUES (:id, :user_id, :now, :now) ON CONFLICT (id) DO NOTHING""")
_NEXT = select(func.coalesce(func.max(MESSAGES.c.position), 0) + 1)
_SPOKEN = ("content", "model", "prompt_tokens", "completion_tokens", "total_tokens", "cost")


class Question(Struct, frozen=True, kw_only=True):
    """What a job wants answered in a conversation, which is made if it is not there; `user_id`: whose it is."""

    job_id: str
    conversation_id: str
    user_id: str | None
    content: str


class Spoken(Struct, frozen=True, kw_only=True):
    """An answer as it is kept."""

    content: str
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cost: float | None


async def answered(job_id: str) -> Spoken | None:
    """The answer that an earlier run of the job has written."""
    async with DATABASE.reading() as tables:
        return await _answered(tables, job_id)


@asynccontextmanager
async def turn(context: Context, question: Question, pairs: int) -> AsyncIterator[list[dict[str, str]]]:
    """Hold the conversation, with the question as its last message; what was said before, at most so many pairs of
    question and answer. Raises FatalError for a conversation of another user."""
    while not await _take(question, await _idle_holder(question)):
        context.check()
        await anyio.sleep(PAUSE)
    try:
        yield await _history(question, pairs)
    finally:
        # Also when the job is being stopped: others wait.
        with anyio.CancelScope(shield=True):
            await _let_go(question)


async def write(question: Question, spoken: Spoken) -> Spoken:
    """Write the answer behind its question; if another run of the job did before, that one's answer stands."""
    async with DATABASE.writing() as tables:
        held = update(CONVERSATIONS).where(*_held_by(question)).values(updated_at=_now())
        if (await tables.execute(held)).rowcount:
            values = {name: getattr(spoken, name) for name in _SPOKEN}
            await _append(tables, question, role="assistant", **values)
            return spoken
        earlier = await _answered(tables, question.job_id)
        there = await tables.scalar(select(func.count()).where(CONVERSATIONS.c.id == question.conversation_id))
    if earlier is not None:
        return earlier
    if not there:
        raise FatalError(f"the conversation {question.conversation_id} was deleted meanwhile")
    raise Retry("another question of the conversation was answered meanwhile", countdown=PAUSE)


async def _idle_holder(question: Question) -> str | None:
    """The job that holds the conversation and does not run any more; the question's own if nobody holds it."""
    async with DATABASE.reading() as tables:
        wanted = select(CONVERSATIONS.c.holder).where(CONVERSATIONS.c.id == question.conversation_id)
        holder: str | None = await tables.scalar(wanted)
    if holder in (None, question.job_id):
        return question.job_id
    job = await client().read_async(str(holder))
    return None if job is not None and job.status is State.STARTED else holder


async def _take(question: Question, before: str | None) -> bool:
    """Take the conversation if it is free, or held by the job `before`."""
    async with DATABASE.writing() as tables:
        made = {"id": question.conversation_id, "user_id": question.user_id, "now": _now()}
        await tables.execute(_MAKE, made)
        free = or_(CONVERSATIONS.c.holder.is_(None), CONVERSATIONS.c.holder == before)
        taken = (
            update(CONVERSATIONS)
            .where(CONVERSATIONS.c.id == question.conversation_id, free)
            .values(holder=question.job_id)
            .returning(CONVERSATIONS.c.user_id)
        )
        row = (await tables.execute(taken)).first()
        if row is None:
            return False
        if question.user_id is not None and row.user_id not in (None, question.user_id):
            raise FatalError(f"the conversation {question.conversation_id} belongs to another user")
        # A question of an earlier run comes last now: what was said meanwhile was said before its answer.
        await tables.execute(delete(MESSAGES).where(MESSAGES.c.job_id == question.job_id, MESSAGES.c.role == "user"))
        await _append(tables, question, role="user", content=question.content)
        return True


async def _append(tables: AsyncConnection, question: Question, **values: Any) -> None:
    conversation = question.conversation_id
    position = await tables.scalar(_NEXT.where(MESSAGES.c.conversation_id == conversation))
    row = {"conversation_id": conversation, "position": position, "job_id": question.job_id, "created_at": _now()}
    await tables.execute(insert(MESSAGES).values(**row, **values))


async def _history(question: Question, pairs: int) -> list[dict[str, str]]:
    """The last answered questions with their answers, oldest first: some models take no question after a question."""
    answers = select(MESSAGES.c.job_id).where(
        MESSAGES.c.conversation_id == question.conversation_id, MESSAGES.c.role == "assistant"
    )
    wanted = (
        select(MESSAGES.c.role, MESSAGES.c.content)
        .where(MESSAGES.c.conversation_id == question.conversation_id, MESSAGES.c.job_id.in_(answers))
        .order_by(MESSAGES.c.position.desc())
        .limit(2 * pairs)
    )
    async with DATABASE.reading() as tables:
        latest: Sequence[Any] = (await tables.execute(wanted)).all()
    return [{"role": row.role, "content": row.content} for row in reversed(latest)]


async def _let_go(question: Question) -> None:
    async with DATABASE.writing() as tables:
        await tables.execute(update(CONVERSATIONS).where(*_held_by(question)).values(holder=None))


async def _answered(tables: AsyncConnection, job_id: str) -> Spoken | None:
    wanted = select(*MESSAGES.c[_SPOKEN]).where(MESSAGES.c.job_id == job_id, MESSAGES.c.role == "assistant")
    row = (await tables.execute(wanted)).first()
    return None if row is None else Spoken(**row._mapping)


def _held_by(question: Question) -> tuple[Any, ...]:
    return CONVERSATIONS.c.id == question.conversation_id, CONVERSATIONS.c.holder == question.job_id


def _now() -> int:
    return time.time_ns() // 1_000_000
