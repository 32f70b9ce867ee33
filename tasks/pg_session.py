"""What every PostgreSQL session of ours is told, so that a client that vanishes frees its locks within seconds.

A host without power or network sends no FIN. Without these settings the server keeps the row locks of such a client
until TCP gives up, two hours and more by Linux's defaults. It knows only SQLAlchemy's events, no table.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

#: The server probes a connection that is silent for `idle` seconds, and drops it after some twenty without an answer.
#: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE
KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
#: Of the store: its transactions are a few statements sent one after another, so a pause in one means a lost client.
STORE = {"idle_in_transaction_session_timeout": "5s", "lock_timeout": "3s", "statement_timeout": "30s", **KEEPALIVE}
#: Of packs: their bodies may compute between two statements, and wait for each other's rows.
PACKS = {"idle_in_transaction_session_timeout": "60s", "lock_timeout": "60s", "statement_timeout": "120s", **KEEPALIVE}
#: Of a migration: it may rebuild an index, and wait for another migration.
MIGRATION = {"idle_in_transaction_session_timeout": "60s", **KEEPALIVE}


def prepare(engine: AsyncEngine, settings: dict[str, str]) -> None:
    """Set these values in each session that `engine` opens, before its first transaction."""
    words = "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())

    def tell(connection: Any, _: Any) -> None:
        # By the driver itself: SQLAlchemy's cursor would open a transaction, and prepare one statement at a time.
        connection.run_async(lambda driver: driver.execute(words))

    # Inserted: SQLAlchemy's own listener asks the first session for its version in a transaction.
    event.listen(engine.sync_engine, "connect", tell, insert=True)
