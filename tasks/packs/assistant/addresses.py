"""The addresses of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from sqlalchemy import Row, Select, delete, func, select

from tasks.address import address
from tasks.errors import NotFound
from tasks.moment import moment
from tasks.packs.assistant.tables import CONVERSATIONS, DATABASE, MESSAGES


class Message(Struct, frozen=True, kw_only=True):
    """A question (`user`) or an answer (`assistant`) with the job that asked or answered it."""

    position: int
    role: Literal["user", "assistant"]
    content: str
    job_id: str
    created_at: str
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cost: float | None


class Conversation(Struct, frozen=True, kw_only=True):
    """`total_tokens` and `cost` are those of all its answers as far as they are known; `answering`: the job whose
    question is being answered now."""

    id: str
    user_id: str | None
    created_at: str
    updated_at: str
    messages: int
    total_tokens: int
    cost: float
    answering: str | None


class WholeConversation(Conversation, frozen=True, kw_only=True):
    """`history` in the order in which it was said; the last messages if there are more than were asked for."""

    history: Sequence[Message]


class ConversationList(Struct, frozen=True, kw_only=True):
    """Newest first."""

    conversations: Sequence[Conversation]


class ConversationQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class HistoryQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


@address("GET", "/api/v1/assistant/conversations")
async def list_conversations(query: ConversationQuery) -> ConversationList:
    """List conversations."""
    wanted = _summaries().order_by(CONVERSATIONS.c.updated_at.desc(), CONVERSATIONS.c.id).limit(query.limit)
    if query.user_id is not None:
        wanted = wanted.where(CONVERSATIONS.c.user_id == query.user_id)
    async with DATABASE.reading() as tables:
        rows = (await tables.execute(wanted)).all()
    return ConversationList(conversations=[Conversation(**_summary(row)) for row in rows])


@address("GET", "/api/v1/assistant/conversations/{conversation_id}")
async def read_conversation(conversation_id: str, query: HistoryQuery) -> WholeConversation:
    """Read a conversation with its messages."""
    latest = (
        select(*(column for column in MESSAGES.c if column is not MESSAGES.c.conversation_id))
        .where(MESSAGES.c.conversation_id == conversation_id)
        .order_by(MESSAGES.c.position.desc())
        .limit(query.limit)
    )
    async with DATABASE.reading() as tables:
        row = (await tables.execute(_summaries().where(CONVERSATIONS.c.id == conversation_id))).first()
        said = (await tables.execute(latest)).all()
    if row is None:
        raise NotFound(f"there is no conversation {conversation_id[:200]!r}")
    return WholeConversation(**_summary(row), history=[_message(one) for one in reversed(said)])


@address("DELETE", "/api/v1/assistant/conversations/{conversation_id}")
async def delete_conversation(conversation_id: str) -> None:
    """Delete a conversation and all that was said in it."""
    async with DATABASE.writing() as tables:
        if not (await tables.execute(delete(CONVERSATIONS).where(CONVERSATIONS.c.id == conversation_id))).rowcount:
            raise NotFound(f"there is no conversation {conversation_id[:200]!r}")


def _summaries() -> Select[Any]:
    messages = MESSAGES.c
    return (
        select(
            *CONVERSATIONS.c,
            func.count(messages.position).label("messages"),
            func.coalesce(func.sum(messages.total_tokens), 0).label("total_tokens"),
            func.coalesce(func.sum(messages.cost), 0.0).label("cost"),
        )
        .outerjoin_from(CONVERSATIONS, MESSAGES, messages.conversation_id == CONVERSATIONS.c.id)
        .group_by(CONVERSATIONS.c.id)
    )


def _summary(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "user_id": row.user_id,
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
        "messages": row.messages,
        "total_tokens": row.total_tokens,
        "cost": round(row.cost, 9),
        "answering": row.holder,
    }


def _message(row: Row[Any]) -> Message:
    return Message(**{**row._mapping, "created_at": moment(row.created_at)})
