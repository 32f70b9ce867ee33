"""System statistics: measured, kept once a job, read back, added up, forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import create_app
from tasks.packs.stats import host
from tests.gateway.conftest import client_of


def test_a_host_says_what_it_can_and_no_more(tmp_path: Path) -> None:
    seen = host.look(str(tmp_path))
    assert 0 < seen.disk_free <= seen.disk_total
    assert seen.cores > 0
    (tmp_path / "meminfo").write_text("MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    250 kB\n")
    told = host.look(str(tmp_path), tmp_path / "meminfo")
    assert (told.memory_total, told.memory_available) == (1_024_000, 256_000)
    assert host.look(str(tmp_path), tmp_path / "gone").memory_total is None


async def test_from_a_measurement_to_the_table_and_back(database_url: str) -> None:
    settings = Settings(
        database_url=database_url,
        task_modules=("tasks.packs.stats", "tasks.packs.demo"),
        threads=2,
        environment={"STATS_KEEP_DAYS": "1"},
    )
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:

        async def run(task: str, **fields: Any) -> Any:
            made = await client.post("/api/v1/jobs", json={"task": task, **fields})
            job = (await client.get(f"/api/v1/jobs/{made.json()['id']}?wait={fields.get('wait', 20)}")).json()
            return job["result"]

        assert (await client.get("/api/stats/latest")).status_code == 404
        await run("demo.add", args=[1, 2])
        for _ in range(3):
            await client.post("/api/v1/jobs", json={"task": "demo.add", "args": [1, 2], "countdown": 600})
        taken = await run("tasks.stats.collect_system_stats")
        assert (taken["workers"], taken["slots"]) == (1, 2)
        depths = {depth["queue"]: (depth["waiting"], depth["due"]) for depth in taken["queues"]}
        assert depths["default"] == (3, 0)
        assert {"task": "demo.add", "status": "SUCCESS", "attempts": 1} in taken["outcomes"]
        assert (await client.get("/api/stats/latest")).json() == taken
        page = (await client.get("/api/stats/samples?limit=1")).json()
        assert (page["samples"], page["next_before"]) == ([taken], None)
        report = await run("tasks.stats.generate_report", kwargs={"hours": 1})
        assert (report["hosts"][0]["samples"], report["deepest"]) == (1, {"default": 3})
        assert (await client.get("/api/stats/report?hours=1")).json()["hosts"] == report["hosts"]
        assert (await client.get("/api/stats/samples?before=99999999999999999999")).status_code == 422
        assert await run("tasks.stats.cleanup_old_stats", kwargs={"days": 1}) == {"samples": 0}
    await packs.close(found)
