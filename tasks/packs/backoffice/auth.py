"""The tasks `auth.*`: sessions are cleaned up and counted."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tasks import Context, schedule, task
from tasks.packs.backoffice import sessions
from tasks.packs.backoffice.sessions import Figures

Days = Annotated[int, Meta(ge=0, le=36_500)]


@schedule(cron="*/10 * * * *", overlap="skip", type="system")
@task(name="auth.cleanup_expired_sessions", queue="system", time_limit=120)
async def cleanup_expired_sessions() -> dict[str, int]:
    """End the sessions whose time is over; how many those were."""
    return {"expired": await sessions.expire()}


@schedule(cron="30 3 * * *", overlap="skip", type="system")
@task(name="auth.cleanup_old_sessions", queue="priority_low", time_limit=300)
async def cleanup_old_sessions(days: Days = 30) -> dict[str, int]:
    """Delete the sessions that ended more than `days` ago; how many those were."""
    return {"deleted": await sessions.forget(days)}


@schedule(cron="5 * * * *", overlap="skip", type="system")
@task(name="auth.session_statistics", queue="priority_low", bind=True, time_limit=120)
async def session_statistics(context: Context) -> Figures:
    """Count the sessions, and write the figures down."""
    return await sessions.note(context.idempotency_key)
