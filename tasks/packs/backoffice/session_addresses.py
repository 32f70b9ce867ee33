"""The addresses of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from tasks.address import address
from tasks.packs.backoffice import sessions
from tasks.packs.backoffice.pack import BACKOFFICE
from tasks.packs.backoffice.sessions import Figures, NewSession, Session, State

#: What is none names no session, and reaches no database.
SessionId = Annotated[str, Meta(max_length=36, pattern=r"^[0-9a-f-]+$(?!\n)")]
Limit = Annotated[int, Meta(ge=1, le=200)]


class SessionQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before`: the id of the last session of the page before."""

    user_id: str | None = None
    state: State | None = None
    limit: Limit = 50
    before: str = ""


class SessionList(Struct, frozen=True, kw_only=True):
    sessions: Sequence[Session]


class StatisticsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 50


class Statistics(Struct, frozen=True, kw_only=True):
    """`now` are the figures of this moment, `noted` those that jobs wrote down, the latest first."""

    now: Figures
    noted: Sequence[dict[str, Any]]


@address("POST", "/api/backoffice/sessions", status=201)
async def open_session(body: NewSession) -> Session:
    """Open a session."""
    return await sessions.begin(body, BACKOFFICE.settings.backoffice_session_ttl)


@address("GET", "/api/backoffice/sessions")
async def list_sessions(query: SessionQuery) -> SessionList:
    """List sessions, the newest first."""
    found = await sessions.matching(query.user_id, query.state, query.limit, query.before)
    return SessionList(sessions=found)


@address("GET", "/api/backoffice/sessions/{session_id}")
async def read_session(session_id: SessionId) -> Session:
    """Read a session."""
    return await sessions.read(session_id)


@address("POST", "/api/backoffice/sessions/{session_id}/touch")
async def touch_session(session_id: SessionId) -> Session:
    """Keep a session open for its time from now on."""
    return await sessions.touch(session_id)


@address("POST", "/api/backoffice/sessions/{session_id}/close")
async def close_session(session_id: SessionId) -> Session:
    """Close a session; one that has ended stays as it ended."""
    return await sessions.close(session_id)


@address("GET", "/api/backoffice/session-statistics")
async def read_statistics(query: StatisticsQuery) -> Statistics:
    """Count sessions, and show what was counted before."""
    return Statistics(now=await sessions.figures(), noted=await sessions.noted(query.limit))
