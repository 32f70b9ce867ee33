"""The database's schema: what it is, and bringing it up to date. Apart, because a database's libraries load slowly."""

from __future__ import annotations

import anyio

from executors.settings import Settings
from tasks.errors import StoreUnavailable
from tasks.store.backend import make_backend, parse_url
from tasks.store.migrate import migrate
from tasks.store.store import HEAD, JobStore

#: Seconds that a look at the store may take.
PATIENCE = 10.0


def found(settings: Settings) -> tuple[str, str]:
    """The schema that is there ("none" in an empty database) and the one that this release needs."""
    return anyio.run(_revision, settings) or "none", HEAD


def upgrade(settings: Settings) -> None:
    """Run the missing migrations."""
    anyio.run(migrate, parse_url(settings.database_url))


async def _revision(settings: Settings) -> str | None:
    store = JobStore(make_backend(parse_url(settings.database_url)), settings.mode)
    try:
        with anyio.fail_after(PATIENCE):
            return await store.revision()
    except TimeoutError:
        raise StoreUnavailable(f"the store does not answer within {PATIENCE:g} s") from None
    finally:
        await store.close()
