"""The store's benches, and tickers on them: the clock stands still until a test moves it."""

from __future__ import annotations

import pytest

from tests.schedules.support import Town
from tests.store.conftest import bench, postgres_database, sqlite_template, sqlite_url, url
from tests.store.support import Bench

__all__ = ["bench", "postgres_database", "sqlite_template", "sqlite_url", "url"]


@pytest.fixture
def town(bench: Bench) -> Town:
    return Town(bench)
