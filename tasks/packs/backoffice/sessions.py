"""Sessions of the back-office's users: what is done to their rows, and nothing of who asks.

A session's id names it and is no credential: who may ask is the API key's matter.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from sqlalchemy import Float, and_, case, cast, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.admission import new_id
from tasks.errors import NotFound, StateConflict
from tasks.moment import moment, moment_or_none
from tasks.packs.backoffice.tables import DATABASE, SESSIONS, STATISTICS, now

DAY = 86_400_000
State = Literal["open", "closed", "expired"]

_S = SESSIONS.c
_OVER = _S.expires_at <= now()
_LIVES = and_(_S.ended_at.is_(None), _S.expires_at > now())
_STATE = case((_S.ended_at.is_not(None), _S.ended), (_OVER, "expired"), else_="open")
_SHOWN = (
    *SESSIONS.c["id", "user_id", "ip", "user_agent", "opened_at", "seen_at", "expires_at", "ended_at"],
    _STATE.label("state"),
)


class NewSession(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ttl`: seconds that it stays open untouched; the deployment's where none is given."""

    user_id: Annotated[str, Meta(min_length=1, max_length=200)]
    ip: Annotated[str, Meta(max_length=45)] = ""
    user_agent: Annotated[str, Meta(max_length=500)] = ""
    ttl: Annotated[int, Meta(ge=1, le=31_622_400)] | None = None


class Session(Struct, frozen=True, kw_only=True):
    """`state` is expired as soon as its time is over; `ended_at` waits for the clean-up then."""

    id: str
    user_id: str
    ip: str
    user_agent: str
    state: State
    opened_at: str
    seen_at: str
    expires_at: str
    ended_at: str | None


class Figures(Struct, frozen=True, kw_only=True):
    """`expired` counts those whose time is over, cleaned up or not; `users` those who have an open session;
    `mean_seconds` is how long those that ended stayed open."""

    total: int
    open: int
    closed: int
    expired: int
    users: int
    opened_last_day: int
    mean_seconds: float | None


async def begin(new: NewSession, ttl: int) -> Session:
    """A new one; `ttl` where it names none."""
    ttl = ttl if new.ttl is None else new.ttl
    session_id = new_id()
    row = {"id": session_id, "user_id": new.user_id, "ip": new.ip, "user_agent": new.user_agent, "ttl": ttl}
    times = {"opened_at": now(), "seen_at": now(), "expires_at": now() + ttl * 1000}
    async with DATABASE.writing() as tables:
        await tables.execute(insert(SESSIONS).values(**row, **times))
        return await _read(tables, session_id)


async def read(session_id: str) -> Session:
    async with DATABASE.reading() as tables:
        return await _read(tables, session_id)


async def touch(session_id: str) -> Session:
    """Let it stay open for its time from now on. StateConflict where that is over."""
    touched, session = await _changed(session_id, seen_at=now(), expires_at=now() + _S.ttl * 1000)
    if not touched:
        raise StateConflict(f"session {session_id} is {session.state}: open a new one")
    return session


async def close(session_id: str) -> Session:
    """End it; one that has ended stays as it ended."""
    return (await _changed(session_id, ended_at=now(), ended="closed"))[1]


async def matching(user_id: str | None, state: State | None, limit: int, before: str) -> list[Session]:
    """The newest first, those older than the one whose id is `before`."""
    wanted = select(*_SHOWN).order_by(_S.id.desc()).limit(limit)
    if user_id is not None:
        wanted = wanted.where(_S.user_id == user_id)
    if state is not None:
        wanted = wanted.where(_STATE.in_([state]))
    if before:
        wanted = wanted.where(_S.id < before)
    async with DATABASE.reading() as tables:
        return [_session(row) for row in (await tables.execute(wanted)).mappings()]


async def expire() -> int:
    """End those whose time is over, at the moment at which it was; how many."""
    over = update(SESSIONS).where(_S.ended_at.is_(None), _OVER)
    async with DATABASE.writing() as tables:
        return (await tables.execute(over.values(ended_at=_S.expires_at, ended="expired"))).rowcount


async def forget(days: int) -> int:
    """Delete those that ended longer ago; how many."""
    async with DATABASE.writing() as tables:
        return (await tables.execute(delete(SESSIONS).where(_S.ended_at < now() - days * DAY))).rowcount


async def figures() -> Figures:
    """As they are now."""
    async with DATABASE.reading() as tables:
        return Figures(**(await tables.execute(_FIGURES)).mappings().one())


async def note(job_id: str) -> Figures:
    """The figures, written down for this job; a second run of the job replaces what the first one wrote."""
    async with DATABASE.writing() as tables:
        found = (await tables.execute(_FIGURES)).mappings().one()
        await tables.execute(delete(STATISTICS).where(STATISTICS.c.job_id == job_id))
        await tables.execute(insert(STATISTICS).values(job_id=job_id, at=now(), **found))
    return Figures(**found)


async def noted(limit: int) -> list[dict[str, Any]]:
    """What was written down, the latest first."""
    latest = select(STATISTICS).order_by(STATISTICS.c.at.desc()).limit(limit)
    async with DATABASE.reading() as tables:
        return [{**row, "at": moment(row["at"])} for row in (await tables.execute(latest)).mappings()]


async def forget_noted(days: int) -> int:
    """Delete what was written down longer ago; how many."""
    async with DATABASE.writing() as tables:
        return (await tables.execute(delete(STATISTICS).where(STATISTICS.c.at < now() - days * DAY))).rowcount


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


_FIGURES = select(
    func.count().label("total"),
    _count(_LIVES).label("open"),
    _count(_S.ended == "closed").label("closed"),
    _count(_STATE == "expired").label("expired"),
    func.count(func.distinct(case((_LIVES, _S.user_id)))).label("users"),
    _count(_S.opened_at > now() - DAY).label("opened_last_day"),
    (cast(func.avg(_S.ended_at - _S.opened_at), Float) / 1000).label("mean_seconds"),
).select_from(SESSIONS)


async def _changed(session_id: str, **values: Any) -> tuple[bool, Session]:
    """Change one that is open; whether it was, and how it is now."""
    change = update(SESSIONS).where(_S.id == session_id, _LIVES).values(values)
    async with DATABASE.writing() as tables:
        return bool((await tables.execute(change)).rowcount), await _read(tables, session_id)


async def _read(tables: AsyncConnection, session_id: str) -> Session:
    # By a statement of its own: SQLite 3.40 answers NULL for this CASE in the RETURNING of an INSERT.
    found = (await tables.execute(select(*_SHOWN).where(_S.id == session_id))).mappings().first()
    if found is None:
        raise NotFound(f"there is no session {session_id[:100]!r}")
    return _session(found)


def _session(row: Any) -> Session:
    times = {name: moment_or_none(row[name]) for name in ("opened_at", "seen_at", "expires_at", "ended_at")}
    return Session(**{**row, **times})
