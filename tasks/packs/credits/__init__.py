"""A ledger of credits in whole cents: `tasks.credits.grant`, `deduct`, `balance`, `expire` and `audit`."""

from msgspec import Struct

from tasks.pack import Pack
from tasks.packs.credits.addresses import read_account, read_audit, read_statement, read_transfer
from tasks.packs.credits.smoke import smoke
from tasks.packs.credits.tables import DATABASE
from tasks.packs.credits.work import audit, balance, deduct, expire, grant


class Settings(Struct, frozen=True):
    """None: a ledger has nothing to set."""


CREDITS = Pack("credits", Settings, database=DATABASE, smoke=smoke)

__all__ = [
    "CREDITS",
    "audit",
    "balance",
    "deduct",
    "expire",
    "grant",
    "read_account",
    "read_audit",
    "read_statement",
    "read_transfer",
]
