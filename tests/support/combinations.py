"""The carriers, databases and brokers under which the contract of executors must hold."""

from __future__ import annotations

from msgspec import Struct


class Combination(Struct, frozen=True):
    """A carrier, a database, a broker."""

    pool: str | None
    database: str
    broker: str = ""

    def __str__(self) -> str:
        carrier = "thread" if self.pool is None else f"celery-{self.pool}"
        return "-".join(filter(None, [carrier, self.database, self.broker]))


COMBINATIONS = [
    Combination(None, "sqlite"),
    Combination(None, "postgresql"),
    Combination("prefork", "sqlite", "redis"),
    Combination("prefork", "postgresql", "redis"),
    Combination("threads", "sqlite", "redis"),
    Combination("threads", "postgresql", "redis"),
    Combination("prefork", "sqlite", "rabbitmq"),
]


class Site(Struct, frozen=True, kw_only=True):
    """A deployment with all packs."""

    celery: bool
    database: str

    def __str__(self) -> str:
        return f"system-{'celery' if self.celery else 'thread'}-{self.database}"


SITES = [Site(celery=False, database="sqlite"), Site(celery=True, database="postgresql")]
