"""The ledger's tables. Entries, draws and transfers are only ever added; what an account has is their sum."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

from tasks.database import Database

TABLES = MetaData()

#: SQLite counts by itself only in a column of exactly this type.
_KEY = BigInteger().with_variant(Integer, "sqlite")

#: Those who have credits; the row is what a transfer locks. `cents` is kept beside the entries and must be their sum.
ACCOUNTS = Table(
    "credits_accounts",
    TABLES,
    Column("name", String(100), primary_key=True),
    Column("cents", BigInteger, CheckConstraint("cents >= 0"), nullable=False, default=0),
    Column("opened_at", BigInteger, nullable=False),
)

#: What was asked for, once for each `key`: made, or refused for want of credits.
TRANSFERS = Table(
    "credits_transfers",
    TABLES,
    Column("id", _KEY, primary_key=True),
    Column("key", String(300), nullable=False, unique=True),
    Column("job_id", Text, nullable=False, index=True),
    Column("kind", String(10), CheckConstraint("kind IN ('grant', 'deduct', 'expire')"), nullable=False),
    Column("outcome", String(10), CheckConstraint("outcome IN ('made', 'refused')"), nullable=False),
    Column("account", String(100), ForeignKey("credits_accounts.name"), nullable=False),
    Column("cents", BigInteger, CheckConstraint("cents > 0"), nullable=False),
    #: What the account had afterwards.
    Column("balance", BigInteger, CheckConstraint("balance >= 0"), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("expires_at", BigInteger),
    Column("at", BigInteger, nullable=False),
)

#: Both sides of each transfer that was made: its sum is 0. Accounts with an `@` in front are the ledger's own.
ENTRIES = Table(
    "credits_entries",
    TABLES,
    Column("id", _KEY, primary_key=True),
    Column("transfer_id", _KEY, ForeignKey("credits_transfers.id"), nullable=False),
    Column("account", String(100), nullable=False),
    Column("cents", BigInteger, CheckConstraint("cents <> 0"), nullable=False),
    Index("credits_entries_side", "transfer_id", "account", unique=True),
    Index("credits_entries_account", "account", "id"),
)

#: What a grant brought and what is left of it, so that what expires first is spent first.
LOTS = Table(
    "credits_lots",
    TABLES,
    Column("id", _KEY, ForeignKey("credits_transfers.id"), primary_key=True, autoincrement=False),
    Column("account", String(100), ForeignKey("credits_accounts.name"), nullable=False),
    Column("granted", BigInteger, CheckConstraint("granted > 0"), nullable=False),
    Column("left", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    CheckConstraint('"left" >= 0 AND "left" <= granted'),
    Index("credits_lots_account", "account", "expires_at"),
    Index("credits_lots_expiry", "expires_at"),
)

#: Which lots a deduction or an expiry took its cents from.
DRAWS = Table(
    "credits_draws",
    TABLES,
    Column("transfer_id", _KEY, ForeignKey("credits_transfers.id"), primary_key=True, autoincrement=False),
    Column("lot_id", _KEY, ForeignKey("credits_lots.id"), primary_key=True, autoincrement=False),
    Column("cents", BigInteger, CheckConstraint("cents > 0"), nullable=False),
)

DATABASE = Database(TABLES)
