"""The database seen from beside the gateway: has everything ended, and when."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

#: Each is one probe of a partial index.
_OPEN = """SELECT EXISTS (SELECT 1 FROM jobs WHERE rank IS NOT NULL)
    OR EXISTS (SELECT 1 FROM jobs WHERE status = 'STARTED')"""
_ENDED = "SELECT count(*), max(finished_at) FROM jobs WHERE id > :after AND status = 'SUCCESS'"
_LAST = "SELECT coalesce(max(id), '') FROM jobs"
_PAUSE = 0.02


class Record:
    """A connection of our own, usable from plain code."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[parsed.get_backend_name()]
        # Without statistics the planner reads the whole table for what the partial indexes answer at once.
        settings: dict[str, Any] = {} if driver.startswith("sqlite") else {"server_settings": {"enable_seqscan": "off"}}
        self._runner = asyncio.Runner()
        self._engine = create_async_engine(
            parsed.set(drivername=driver), connect_args=settings, isolation_level="AUTOCOMMIT"
        )

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._engine.dispose())
        self._runner.close()

    def execute(self, sql: str, **params: Any) -> list[Any]:
        return self._runner.run(self._execute(sql, params))

    def last_id(self) -> str:
        """Ids sort by time: those of the next jobs come after this one."""
        return str(self.execute(_LAST)[0][0])

    def await_end(self, after: str, number: int, patience: float) -> float:
        """The time of day at which the last of the `number` jobs after the id `after` was settled.

        Where not all ended within `patience` seconds it says so and ends the run: no figure is better than a wrong one.
        """
        ends = time.monotonic() + patience
        while time.monotonic() < ends:
            if not self.execute(_OPEN)[0][0]:
                count, finished_at = self.execute(_ENDED, after=after)[0]
                if count >= number:
                    return float(finished_at) / 1000
            time.sleep(_PAUSE)
        raise SystemExit(f"bench: {self.execute(_ENDED, after=after)[0][0]} of {number} jobs ended in {patience:g} s")

    async def _execute(self, sql: str, params: dict[str, Any]) -> list[Any]:
        async with self._engine.connect() as connection:
            result = await connection.execute(text(sql), params)
            return [tuple(row) for row in result.all()] if result.returns_rows else []
