"""The database's schema: what it is, and bringing it up to date. Apart, because a database's libraries load slowly."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import anyio

from executors import packs
from executors.assembly import load_tasks
from executors.settings import Settings
from tasks.errors import StoreUnavailable
from tasks.store.backend import absent_file, make_backend, parse_url
from tasks.store.migrate import migrate
from tasks.store.store import HEAD, JobStore

#: Seconds that a look at the store may take.
PATIENCE = 10.0


class Found(NamedTuple):
    """The schema that is there ("none" in an empty database), and the packs' tables that are not."""

    revision: str
    missing: list[str]

    @property
    def current(self) -> bool:
        return self.revision == HEAD and not self.missing


def found(settings: Settings) -> Found:
    """What is there. Raises StoreUnavailable."""
    return asyncio.run(_look(settings))


def upgrade(settings: Settings) -> None:
    """Run the missing migrations, and make the packs' tables that are missing."""
    asyncio.run(migrate(parse_url(settings.database_url)))
    asyncio.run(_create(settings))


async def _look(settings: Settings) -> Found:
    tasks = load_tasks(settings)
    try:
        with anyio.fail_after(PATIENCE):
            return Found(await _revision(settings) or "none", await packs.missing(tasks))
    except TimeoutError:
        raise StoreUnavailable(f"the store does not answer within {PATIENCE:g} s") from None
    finally:
        await packs.close(tasks)


async def _revision(settings: Settings) -> str | None:
    url = parse_url(settings.database_url)
    if absent_file(url):  # opening it would make it
        return None
    store = JobStore(make_backend(url), settings.mode)
    try:
        return await store.revision()
    finally:
        await store.close()


async def _create(settings: Settings) -> None:
    tasks = load_tasks(settings)
    try:
        await packs.create_tables(tasks)
    finally:
        await packs.close(tasks)
