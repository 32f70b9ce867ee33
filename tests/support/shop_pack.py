"""A pack as a team would write one: a setting, a table, a task, addresses, a smoke test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update

from tasks import Context, task
from tasks.address import Download, address
from tasks.database import Database
from tasks.errors import NotFound, StateConflict
from tasks.handle import client
from tasks.pack import Pack
from tasks.smoke import Smoke

TABLES = MetaData()
ORDERS = Table(
    "shop_orders",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("item", String(80), nullable=False),
    Column("state", String(20), nullable=False),
    Column("job_id", String(36)),
)
DATABASE = Database(TABLES)


class Settings(Struct, frozen=True, kw_only=True):
    """`shop_name` is printed on bills; without `shop_mail_key` no bill is sent."""

    shop_name: str = "shop"
    shop_open: bool = True
    shop_items: tuple[str, ...] = ("tea", "cake")
    shop_mail_key: str = ""


class NewOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    item: Annotated[str, Meta(min_length=1, max_length=80)]


class Order(Struct, frozen=True, kw_only=True):
    id: int
    item: str
    state: str


class OrderQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    state: str | None = None


def smoke(gateway: Smoke) -> Iterator[str]:
    order = gateway.post("/api/shop/orders", {"item": "tea"})
    result = gateway.job("shop.pack", order["id"])
    gateway.check(result.endswith("tea"), "the bill names the item")
    yield f"packed order {order['id']}"


SHOP = Pack("shop", Settings, database=DATABASE, smoke=smoke)


@task(name="shop.pack", bind=True, max_retries=0)
async def pack(context: Context, order_id: int) -> str:
    """Pack an order; the bill."""
    async with DATABASE.writing() as tables:
        packed = update(ORDERS).where(ORDERS.c.id == order_id).values(state="packed", job_id=context.idempotency_key)
        item = (await tables.execute(packed.returning(ORDERS.c.item))).scalar_one()
    return f"{SHOP.settings.shop_name}: {item}"


@task(name="shop.mail_bill", needs=lambda: SHOP.lacks("shop_mail_key"))
def mail_bill(order_id: int) -> int:
    """Send the bill."""
    return order_id


@address("POST", "/api/shop/orders", status=201)
async def order(body: NewOrder) -> Order:
    """Order something."""
    if body.item not in SHOP.settings.shop_items:
        raise StateConflict(f"there is no {body.item} today")
    async with DATABASE.writing() as tables:
        made = insert(ORDERS).values(item=body.item, state="new").returning(ORDERS.c.id)
        number = (await tables.execute(made)).scalar_one()
    return Order(id=number, item=body.item, state="new")


@address("GET", "/api/shop/orders")
async def orders(query: OrderQuery) -> list[Order]:
    """List orders."""
    wanted = select(ORDERS.c["id", "item", "state"]).order_by(ORDERS.c.id)
    if query.state is not None:
        wanted = wanted.where(ORDERS.c.state == query.state)
    async with DATABASE.reading() as tables:
        return [Order(**row) for row in (await tables.execute(wanted)).mappings()]


@address("POST", "/api/shop/orders/{number}/pack", status=202)
async def start(number: int) -> dict[str, str]:
    """Have an order packed."""
    if number not in [order.id for order in await orders.handler(OrderQuery())]:
        raise NotFound(f"there is no order {number}")
    return {"job_id": (await pack.submit_async([number])).id, "mode": client().mode}


class Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    item: str


@address("GET", "/api/shop/price")
async def price(query: Wanted) -> int:
    """What an item costs."""
    return len(query.item)


@address("GET", "/api/shop/menu")
async def menu() -> Download:
    """The menu as a file."""
    return Download(Path(__file__), "text/x-python", "menu.py")


@address("DELETE", "/api/shop/orders")
async def clear() -> None:
    """Throw all orders away."""
    async with DATABASE.writing() as tables:
        await tables.execute(ORDERS.delete())
