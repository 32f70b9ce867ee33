"""Transfers between accounts: each once, both sides at once, nothing below zero.

A transfer holds the lock of its account from the first look to the commit: nobody else decides about these credits
meanwhile, on either database.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.errors import FatalError
from tasks.moment import moment, moment_or_none
from tasks.packs.credits.tables import ACCOUNTS, DATABASE, DRAWS, ENTRIES, LOTS, TRANSFERS
from tasks.packs.credits.word import MAX_BALANCE, Expired, Transfer, Wish

#: Where granted credits come from, and where they go: the ledger's own accounts.
ISSUED, SPENT, GONE = "@issued", "@spent", "@expired"


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


async def grant(wish: Wish) -> Transfer:
    """Give credits to an account, which its first transfer opens. FatalError if it cannot hold so many."""
    async with DATABASE.writing() as tables:
        cents = await _lock(tables, wish.account)
        known = await _known(tables, wish)
        if known is not None:
            return known
        if cents + wish.cents > MAX_BALANCE:
            raise FatalError(f"{wish.account} holds {cents} cents; with {wish.cents} more it would hold too many")
        made = await _book(tables, wish, wish.cents, cents + wish.cents, ISSUED)
        lot = {"id": made.id, "account": wish.account, "granted": wish.cents, "left": wish.cents}
        await tables.execute(insert(LOTS).values(**lot, expires_at=wish.expires_at))
        return made


async def deduct(wish: Wish) -> Transfer:
    """Take credits from an account, those first that expire first; a refusal is written down as well, and stays one."""
    async with DATABASE.writing() as tables:
        cents = await _lock(tables, wish.account)
        known = await _known(tables, wish)
        if known is not None:
            return known
        lapsed = await _lapsed_lots(tables, wish.account)
        cents -= (await _lapse(tables, lapsed, cents, wish.job_id)).cents
        if cents < wish.cents:
            return transfer_of(await _write(tables, wish, "refused", cents))
        made = await _book(tables, wish, -wish.cents, cents - wish.cents, SPENT)
        usable = select(LOTS).where(LOTS.c.account == wish.account, LOTS.c.left > 0)
        first = (LOTS.c.expires_at.is_(None), LOTS.c.expires_at, LOTS.c.id)
        await _draw(tables, made.id, (await tables.execute(usable.order_by(*first))).all(), wish.cents)
        return made


async def expire(account: str, job_id: str) -> Expired:
    """Take from an account what has expired by now."""
    async with DATABASE.writing() as tables:
        if not await _lapsed_lots(tables, account):
            return Expired(0, 0)  # nor does it open an account that nobody knows
        cents = await _lock(tables, account)
        return await _lapse(tables, await _lapsed_lots(tables, account), cents, job_id)


async def with_lapsed(limit: int) -> list[str]:
    """Accounts that hold credits which have expired, at most `limit`."""
    wanted = select(LOTS.c.account).where(_is_lapsed(now())).distinct().order_by(LOTS.c.account).limit(limit)
    async with DATABASE.reading() as tables:
        return list((await tables.execute(wanted)).scalars())


def usable(account: str) -> Select[Any]:
    """The lots that an account can spend now."""
    valid = or_(LOTS.c.expires_at.is_(None), LOTS.c.expires_at > now())
    return select(LOTS.c.left, LOTS.c.expires_at).where(LOTS.c.account == account, LOTS.c.left > 0, valid)


def transfer_of(row: Row[Any]) -> Transfer:
    fields = {name: getattr(row, name) for name in ("id", "job_id", "kind", "outcome", "account", "cents", "balance")}
    return Transfer(**fields, reason=row.reason, expires_at=moment_or_none(row.expires_at), at=moment(row.at))


async def _lock(tables: AsyncConnection, account: str) -> int:
    """The cents of the account, which nobody else changes until this transaction ends."""
    make = postgresql_insert if tables.dialect.name == "postgresql" else sqlite_insert
    opened = make(ACCOUNTS).values(name=account, cents=0, opened_at=now()).on_conflict_do_nothing()
    await tables.execute(opened)
    held = select(ACCOUNTS.c.cents).where(ACCOUNTS.c.name == account).with_for_update()
    return int((await tables.execute(held)).scalar_one())


async def _known(tables: AsyncConnection, wish: Wish) -> Transfer | None:
    """What became of this wish before. FatalError if its key stood for another one."""
    row = (await tables.execute(select(TRANSFERS).where(TRANSFERS.c.key == wish.key))).one_or_none()
    if row is None:
        return None
    wanted = (wish.account, wish.kind, wish.cents, wish.expires_at)
    if (row.account, row.kind, row.cents, row.expires_at) != wanted:
        raise FatalError(f"the key was used before, for a {row.kind} of {row.cents} cents (transfer {row.id})")
    return transfer_of(row)


async def _write(tables: AsyncConnection, wish: Wish, outcome: str, balance: int) -> Row[Any]:
    fields = {name: getattr(wish, name) for name in wish.__struct_fields__}
    made = insert(TRANSFERS).values(**fields, outcome=outcome, balance=balance, at=now()).returning(TRANSFERS)
    row: Row[Any] = (await tables.execute(made)).one()
    return row


async def _book(tables: AsyncConnection, wish: Wish, cents: int, balance: int, other: str) -> Transfer:
    """Both sides of a transfer: `cents` for the account, their opposite for the ledger's own."""
    row = await _write(tables, wish, "made", balance)
    sides = ((wish.account, cents), (other, -cents))
    entries = [{"transfer_id": row.id, "account": account, "cents": amount} for account, amount in sides]
    await tables.execute(insert(ENTRIES), entries)
    await tables.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == wish.account).values(cents=balance))
    return transfer_of(row)


async def _draw(tables: AsyncConnection, transfer: int, lots: Sequence[Row[Any]], cents: int) -> None:
    """Take `cents` out of the lots, in their order."""
    draws = []
    for lot in lots:
        taken = min(lot.left, cents)
        cents -= taken
        draws.append({"transfer_id": transfer, "lot_id": lot.id, "cents": taken})
        if not cents:
            break
    await tables.execute(insert(DRAWS), draws)
    less = update(LOTS).where(LOTS.c.id == bindparam("lot")).values(left=LOTS.c.left - bindparam("taken"))
    await tables.execute(less, [{"lot": draw["lot_id"], "taken": draw["cents"]} for draw in draws])


async def _lapsed_lots(tables: AsyncConnection, account: str) -> Sequence[Row[Any]]:
    wanted = select(LOTS).where(LOTS.c.account == account, _is_lapsed(now())).order_by(LOTS.c.expires_at, LOTS.c.id)
    return (await tables.execute(wanted)).all()


async def _lapse(tables: AsyncConnection, lots: Sequence[Row[Any]], cents: int, job_id: str) -> Expired:
    """Take the lots out of the account, which holds `cents`: a transfer for each."""
    for lot in lots:
        wish = Wish(key=f"lot:{lot.id}", job_id=job_id, kind="expire", account=lot.account, cents=lot.left)
        cents -= lot.left
        made = await _book(tables, wish, -lot.left, cents, GONE)
        await _draw(tables, made.id, [lot], lot.left)
    return Expired(len(lots), sum(lot.left for lot in lots))


def _is_lapsed(moment: int) -> ColumnElement[bool]:
    return (LOTS.c.left > 0) & (LOTS.c.expires_at <= moment)
