"""What the ledger says when it is asked; nothing is changed here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Row, Select, Table, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.errors import NotFound
from tasks.moment import moment
from tasks.packs.credits.ledger import GONE, ISSUED, SPENT, transfer_of, usable
from tasks.packs.credits.tables import ACCOUNTS, DATABASE, DRAWS, ENTRIES, LOTS, TRANSFERS
from tasks.packs.credits.word import Audit, Balance, Expiring, Line, Statement, StatementQuery, Transfer

#: Lots that a balance names, and faults of each kind that an audit names.
_NAMED, _FAULTS = 100, 20


async def balance(account: str) -> Balance:
    """What the account can spend now. Raises NotFound for one without any transfer."""
    async with DATABASE.reading() as tables:
        await _opened(tables, account)
        lots = usable(account).subquery()
        cents = (await tables.execute(select(func.coalesce(func.sum(lots.c.left), 0)))).scalar_one()
        expiring = select(lots).where(lots.c.expires_at.is_not(None)).order_by(lots.c.expires_at).limit(_NAMED)
        parts = [Expiring(row.left, moment(row.expires_at)) for row in await tables.execute(expiring)]
    return Balance(account=account, cents=int(cents), expiring=parts)


async def statement(account: str, query: StatementQuery) -> Statement:
    """A page of the account's transfers. Raises NotFound."""
    wanted = (
        select(TRANSFERS, ENTRIES.c.cents.label("moved"))
        .join(ENTRIES, (ENTRIES.c.transfer_id == TRANSFERS.c.id) & (ENTRIES.c.account == TRANSFERS.c.account))
        .where(ENTRIES.c.account == account)
        .order_by(ENTRIES.c.id.desc())
        .limit(query.limit + 1)
    )
    if query.before is not None:
        wanted = wanted.where(TRANSFERS.c.id < query.before)
    async with DATABASE.reading() as tables:
        await _opened(tables, account)
        rows = (await tables.execute(wanted)).all()
    lines = [_line(row) for row in rows[: query.limit]]
    return Statement(
        account=account, lines=lines, next_before=lines[-1].transfer_id if len(rows) > len(lines) else None
    )


async def transfers(job_id: str) -> list[Transfer]:
    """What a job had moved or was refused. Raises NotFound if it is in no book."""
    async with DATABASE.reading() as tables:
        rows = await tables.execute(select(TRANSFERS).where(TRANSFERS.c.job_id == job_id).order_by(TRANSFERS.c.id))
        found = [transfer_of(row) for row in rows]
    if not found:
        raise NotFound(f"the ledger knows no job {job_id}")
    return found


async def audit() -> Audit:
    """Add everything up, in one look at one moment."""
    async with DATABASE.reading() as tables:
        if tables.dialect.name == "postgresql":
            await tables.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        sums = await _sums(tables)
        faults = [fault async for fault in _faults(tables)]
        counts = [(await tables.execute(_count(table))).scalar_one() for table in (ACCOUNTS, TRANSFERS)]
    issued, spent, expired = -sums.pop(ISSUED, 0), sums.pop(SPENT, 0), sums.pop(GONE, 0)
    held = sums.pop("", 0)
    if issued != spent + expired + held:
        faults.append(f"{issued} cents were issued, but {spent} spent, {expired} expired and {held} held")
    return Audit(
        balanced=not faults,
        accounts=counts[0],
        transfers=counts[1],
        issued=issued,
        spent=spent,
        expired=expired,
        held=held,
        faults=faults,
    )


async def _sums(tables: AsyncConnection) -> dict[str, int]:
    """By the ledger's own accounts; those of all others together under ""."""
    wanted = select(ENTRIES.c.account, func.sum(ENTRIES.c.cents)).group_by(ENTRIES.c.account)
    sums: dict[str, int] = {}
    for account, cents in await tables.execute(wanted):
        name = account if account.startswith("@") else ""
        sums[name] = sums.get(name, 0) + int(cents)
    return sums


async def _faults(tables: AsyncConnection) -> AsyncIterator[str]:
    for words, wanted in _rules().items():
        for row in await tables.execute(wanted.limit(_FAULTS)):
            yield words.format(*row)


def _rules() -> dict[str, Select[Any]]:
    """What must never be found, and the words for it."""
    moved = func.coalesce(func.sum(ENTRIES.c.cents), 0)
    drawn = func.coalesce(func.sum(DRAWS.c.cents), 0)
    left = func.coalesce(func.sum(LOTS.c.left), 0)
    entries = TRANSFERS.outerjoin(ENTRIES, ENTRIES.c.transfer_id == TRANSFERS.c.id)
    own = ACCOUNTS.outerjoin(ENTRIES, ENTRIES.c.account == ACCOUNTS.c.name)
    lots = ACCOUNTS.outerjoin(LOTS, LOTS.c.account == ACCOUNTS.c.name)
    draws = TRANSFERS.outerjoin(DRAWS, DRAWS.c.transfer_id == TRANSFERS.c.id)
    sides = func.count(ENTRIES.c.id)
    made = TRANSFERS.c.outcome == "made"
    return {
        "the sides of transfer {0} add up to {1}": select(TRANSFERS.c.id, moved)
        .select_from(entries)
        .group_by(TRANSFERS.c.id)
        .having(moved != 0),
        "transfer {0} ({1}) has {2} sides": select(TRANSFERS.c.id, TRANSFERS.c.outcome, sides)
        .select_from(entries)
        .group_by(TRANSFERS.c.id, TRANSFERS.c.outcome)
        .having(sides != case((made, 2), else_=0)),
        "account {0} says {1}, its entries {2}": select(ACCOUNTS.c.name, ACCOUNTS.c.cents, moved)
        .select_from(own)
        .group_by(ACCOUNTS.c.name, ACCOUNTS.c.cents)
        .having(moved != ACCOUNTS.c.cents),
        "account {0} says {1}, its lots {2}": select(ACCOUNTS.c.name, ACCOUNTS.c.cents, left)
        .select_from(lots)
        .group_by(ACCOUNTS.c.name, ACCOUNTS.c.cents)
        .having(left != ACCOUNTS.c.cents),
        "lot {0} of {1} has {2} left after {3} were drawn": select(LOTS.c.id, LOTS.c.granted, LOTS.c.left, drawn)
        .select_from(LOTS.outerjoin(DRAWS, DRAWS.c.lot_id == LOTS.c.id))
        .group_by(LOTS.c.id, LOTS.c.granted, LOTS.c.left)
        .having(drawn + LOTS.c.left != LOTS.c.granted),
        "transfer {0} of {1} drew {2}": select(TRANSFERS.c.id, TRANSFERS.c.cents, drawn)
        .select_from(draws)
        .where(made, TRANSFERS.c.kind != "grant")
        .group_by(TRANSFERS.c.id, TRANSFERS.c.cents)
        .having(drawn != TRANSFERS.c.cents),
    }


def _count(table: Table) -> Select[Any]:
    return select(func.count()).select_from(table)


def _line(row: Row[Any]) -> Line:
    fields = {name: getattr(row, name) for name in ("job_id", "kind", "balance", "reason")}
    return Line(transfer_id=row.id, cents=row.moved, at=moment(row.at), **fields)


async def _opened(tables: AsyncConnection, account: str) -> None:
    if (await tables.execute(select(ACCOUNTS.c.name).where(ACCOUNTS.c.name == account))).one_or_none() is None:
        raise NotFound(f"there is no account {account!r}: its first transfer opens it")
