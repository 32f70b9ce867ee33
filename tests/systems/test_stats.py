"""System D's statistics: taken by a job, read over an address."""

from __future__ import annotations

from tests.support.deployment import Deployment
from tests.systems.owner import call, run, smoke


def test_what_a_job_measures_is_read_back(site: Deployment) -> None:
    taken = run(site, "tasks.stats.collect_system_stats")
    assert taken["status"] == "SUCCESS", taken
    sample = taken["result"]
    assert sample["slots"] == site.slots
    assert sample["running"] >= 1
    assert call(site, "GET", f"/api/stats/samples?before={sample['id'] + 1}&limit=1")["samples"] == [sample]
    report = run(site, "tasks.stats.generate_report", hours=1)["result"]
    assert sample["host"] in [host["host"] for host in report["hosts"]]
    assert run(site, "tasks.stats.cleanup_old_stats")["result"] == {"samples": 0}


def test_the_smoke_command(site: Deployment) -> None:
    assert "cores" in smoke(site, "stats")
