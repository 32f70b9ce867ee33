from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from executors.control import Control
from gateway.app import Gateway
from tasks.job import Mode
from tasks.store.store import JobStore, open_store
from tests.gateway.support import Hand, make_control, make_gateway


@pytest.fixture(scope="session")
async def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database that is up to date; copying it is faster than making it."""
    path = tmp_path_factory.mktemp("template") / "jobs.db"
    await (await open_store(f"sqlite:///{path}", Mode.THREAD)).stop()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> AsyncIterator[JobStore]:
    """An empty store of each kind."""
    async with opened(request, template, tmp_path) as store:
        yield store


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def shared_client(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx2.AsyncClient]:
    """For requests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("shared")
    async with (
        opened(request, template, folder) as store,
        client_of(make_gateway(make_control(store, Hand(store)))) as client,
    ):
        yield client


@pytest.fixture
def hand(store: JobStore) -> Hand:
    return Hand(store)


@pytest.fixture
def control(store: JobStore, hand: Hand) -> Control:
    return make_control(store, hand)


@pytest.fixture
def gateway(control: Control) -> Gateway:
    return make_gateway(control)


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(gateway) as client:
        yield client


def client_of(gateway: Gateway) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=gateway, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


@asynccontextmanager
async def opened(request: pytest.FixtureRequest, template: Path, folder: Path) -> AsyncIterator[JobStore]:
    if request.param == "sqlite":
        shutil.copy(template, folder / "jobs.db")
        url = f"sqlite:///{folder / 'jobs.db'}"
    else:
        url = request.getfixturevalue("postgres_server").fresh()
    store = await open_store(url, Mode.THREAD)
    yield store
    await store.stop()
