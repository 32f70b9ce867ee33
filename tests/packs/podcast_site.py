"""A gateway with the podcast pack, two profiles and a source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import create_app
from tests.gateway.conftest import client_of

API = "/api/podcast"
LIBRARY = "The library opens at nine in the morning on weekdays. Everybody is welcome, and coffee is free on Fridays."
WISH: dict[str, Any] = {
    "episode_profile": "short",
    "speaker_profile": "two",
    "episode_name": "Our town",
    "source_ids": ["library"],
}


def settings_of(url: str, folder: Path, **environment: str) -> Settings:
    environment = {"PODCAST_ROOT": str(folder / "podcasts"), **environment}
    return Settings(database_url=url, task_modules=("tasks.packs.podcast",), threads=2, environment=environment)


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        client.timeout = httpx2.Timeout(60)
        speakers = [{"name": "Anna"}, {"name": "Ben"}]
        await client.post(f"{API}/episode-profiles", json={"name": "short", "turns": 2})
        await client.post(f"{API}/speaker-profiles", json={"name": "two", "speakers": speakers})
        await client.post(f"{API}/sources", json={"id": "library", "title": "The library", "text": LIBRARY})
        yield client
    await packs.close(found)


async def read(podcasts: httpx2.AsyncClient, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await podcasts.get(f"{API}/runs/{run_id}")).json()
    return found


async def ended(podcasts: httpx2.AsyncClient, run_id: str) -> dict[str, Any]:
    """The run once its task has ended."""
    job_id = (await read(podcasts, run_id))["job_id"]
    job = (await podcasts.get(f"/api/v1/jobs/{job_id}?wait=50")).json()
    assert job["finished_at"], job
    return await read(podcasts, run_id)
