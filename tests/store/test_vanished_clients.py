"""A client of PostgreSQL that vanished in the middle of a transaction, as one does whose host lost its power."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tasks import pg_session
from tasks.database import Database
from tasks.job import Mode
from tasks.store.store import JobStore, open_store
from tests.chaos.proxy import Proxy
from tests.store.support import ME, YOU, new_job
from tests.support.waiting import eventually_async


@pytest.fixture
async def url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database whose server waits for a silent transaction for half a second."""
    monkeypatch.setitem(pg_session.STORE, "idle_in_transaction_session_timeout", "500ms")
    monkeypatch.setitem(pg_session.STORE, "lock_timeout", "200ms")
    return postgres_url


@pytest.fixture
async def store(url: str) -> AsyncIterator[JobStore]:
    store = await open_store(url, Mode.CELERY)
    yield store
    await store.stop()


@asynccontextmanager
async def vanished(url: str, *statements: str) -> AsyncIterator[None]:
    """A store whose process executed these statements of a transaction, and says nothing more."""
    other = await open_store(url, Mode.CELERY)
    connection = await other.engine.connect()
    try:
        for statement in statements:
            await connection.execute(text(statement))
        yield
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT 1"))
    finally:
        await connection.invalidate()
        await connection.close()
        await other.stop()


async def test_jobs_that_a_vanished_process_has_locked_are_claimed_within_seconds(store: JobStore, url: str) -> None:
    job = new_job()
    await store.accept(job)
    async with vanished(url, "UPDATE jobs SET attempt = attempt"):
        await eventually_async(lambda: store.claim(job.id, ME))


async def test_a_vanished_process_holds_no_limit_and_no_submission_up(store: JobStore, url: str) -> None:
    await store.set_limit("t", None, 1)
    jobs = [new_job(limit_name="t") for _ in range(3)]
    await store.accept(jobs[0])
    async with vanished(url, "SELECT * FROM limits FOR UPDATE", "SELECT * FROM jobs FOR UPDATE"):
        for job in jobs[1:]:
            await store.accept(job)
        await eventually_async(lambda: store.claim(jobs[0].id, ME))


async def test_the_attempts_of_a_dead_process_are_given_up_although_another_has_locked_some(
    store: JobStore, url: str
) -> None:
    jobs = [new_job() for _ in range(2)]
    for job in jobs:
        await store.accept(job)
        assert await store.claim(job.id, YOU) is not None
    async with vanished(url, f"SELECT * FROM jobs WHERE id = '{jobs[0].id}' FOR UPDATE"):
        assert await store.abandon(["you"]) == 1, "a locked row is left for the next look"
        await eventually_async(lambda: both(store))


async def both(store: JobStore) -> bool:
    return await store.abandon(["you"]) == 2


async def test_every_session_is_told(store: JobStore, url: str) -> None:
    packs = Database(MetaData())
    packs.configure(url)
    async with store.engine.connect() as of_store, packs.reading() as of_packs:
        for connection, settings in ((of_store, pg_session.STORE), (of_packs, pg_session.PACKS)):
            for name in ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"):
                told = (await connection.execute(text(f"SELECT current_setting('{name}')"))).scalar_one()
                wanted = (
                    await connection.execute(text(f"SELECT '{settings[name]}'::interval = '{told}'"))
                ).scalar_one()
                assert wanted, (name, told)
    await packs.close()


async def test_a_session_is_told_before_its_first_transaction(url: str) -> None:
    sent: list[bytes] = []
    place = urlsplit(url)
    wire = Proxy(f"{parse_qs(place.query)['host'][0]}/.s.PGSQL.5432", lambda _, piece, up: sent.append(piece * up))
    engine = create_async_engine(f"postgresql+asyncpg://postgres@127.0.0.1:{wire.port}{place.path}")
    pg_session.prepare(engine, pg_session.STORE)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    finally:
        await engine.dispose()
        wire.stop()
    words = b"".join(sent)
    assert 0 < words.index(b"SET idle_in_transaction_session_timeout") < words.index(b"BEGIN")
