"""The tables of a pack under many at once, and when their database is away."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, insert, select

from tasks.database import Database
from tasks.errors import StoreUnavailable
from tests.support.servers import Postgres
from tests.support.shop_pack import ORDERS, TABLES


async def test_many_at_once_take_turns(database_url: str) -> None:
    database = Database(TABLES)
    database.configure(database_url)
    await database.create()

    async def order(number: int) -> None:
        async with database.writing() as tables:
            await tables.execute(insert(ORDERS).values(id=number, item="tea", state="new"))

    await asyncio.gather(*(order(number) for number in range(1, 151)))
    async with database.reading() as tables, database.reading() as inside:
        assert (await tables.execute(select(func.count()).select_from(ORDERS))).scalar_one() == 150
        assert (await inside.execute(select(func.count()).select_from(ORDERS))).scalar_one() == 150
    await database.close()


async def test_a_server_without_room_is_unavailable_and_no_fault_of_ours(postgres_server: Postgres) -> None:
    url = postgres_server.fresh()
    database = Database(TABLES)
    database.configure(url)
    await database.create()
    postgres_server.run(f"ALTER DATABASE {url.partition('?')[0].rpartition('/')[2]} CONNECTION LIMIT 0")
    postgres_server.run("CREATE ROLE guest LOGIN")
    database.configure(url.replace("postgres:@", "guest@").replace("postgres@", "guest@"))
    with pytest.raises(StoreUnavailable, match="too many connections"):
        async with database.reading() as tables:
            await tables.execute(select(ORDERS.c.id))
