"""Whose turn it is: questions to one platform keep their distance, over all processes, and heed its Retry-After."""

from __future__ import annotations

import asyncio

from sqlalchemy import BigInteger, bindparam, text

from tasks.packs.citations.clock import now
from tasks.packs.citations.platforms import PlatformFailed
from tasks.packs.citations.tables import DATABASE

_MOMENTS = [bindparam(name, type_=BigInteger) for name in ("now", "fresh", "interval", "latest")]

#: The next free moment of a platform is taken, unless it is later than `latest`; what is left then is the row.
_TAKE = text("""
    INSERT INTO citations_pace AS pace (platform, next_at) VALUES (:platform, :fresh)
    ON CONFLICT (platform) DO UPDATE
        SET next_at = CASE WHEN pace.next_at > :now THEN pace.next_at ELSE :now END + :interval
        WHERE pace.next_at <= :latest
    RETURNING next_at - :interval""").bindparams(*_MOMENTS)
_NEXT = text("SELECT next_at FROM citations_pace WHERE platform = :platform")
_PAUSE = text("""
    INSERT INTO citations_pace AS pace (platform, next_at) VALUES (:platform, :until)
    ON CONFLICT (platform) DO UPDATE SET next_at = :until WHERE pace.next_at < :until""").bindparams(
    bindparam("until", type_=BigInteger)
)


async def turn(platform: str, interval: float, patience: float) -> None:
    """Wait until the platform may be asked: at most `patience` seconds, else PlatformFailed, and no turn is taken."""
    moment, step = now(), round(interval)
    wanted = {"now": moment, "fresh": moment + step, "interval": step, "latest": moment + round(patience * 1000)}
    async with DATABASE.writing() as tables:
        taken = (await tables.execute(_TAKE, {"platform": platform, **wanted})).scalar_one_or_none()
        free = taken if taken is not None else (await tables.execute(_NEXT, {"platform": platform})).scalar_one()
    wait = max(0, free - moment) / 1000
    if taken is None:
        raise PlatformFailed(f"it takes no more questions for {wait:.0f} s", retry_after=wait)
    await asyncio.sleep(wait)


async def pause(platform: str, seconds: float) -> None:
    """Nobody asks the platform for so long."""
    async with DATABASE.writing() as tables:
        await tables.execute(_PAUSE, {"platform": platform, "until": now() + round(seconds * 1000)})
