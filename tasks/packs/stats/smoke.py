"""The smoke test: a sample is taken, kept and read back."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.smoke import Smoke


def smoke(gateway: Smoke) -> Iterator[str]:
    taken = gateway.job("tasks.stats.collect_system_stats")
    kept = gateway.get(f"/api/stats/samples?before={taken['id'] + 1}&limit=1")["samples"]
    gateway.check(kept == [taken], "what was measured is what is kept")
    yield f"{taken['host']}: load {taken['load']} on {taken['cores']} cores, {taken['disk_free'] >> 30} GiB free"
    report = gateway.job("tasks.stats.generate_report", 1)
    gateway.check(taken["host"] in [host["host"] for host in report["hosts"]], "the report knows the host")
    yield f"{len(report['hosts'])} hosts and {len(report['deepest'])} queues within the hour"
