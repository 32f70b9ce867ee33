"""Writes the Grafana dashboard: `python deploy/grafana/dashboard.py > deploy/grafana/jobgate.json`.

Schema and queries are tested; it has not been seen in a Grafana. Every query takes `max by` first: replicas agree.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_PAIR = 'task=~"$task",queue=~"$queue"'


class Panel(NamedTuple):
    """`queries` are (expression, legend); `kind` and `unit` are Grafana's words."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12


def _rate(name: str, by: str = "task, queue", window: str = "$__rate_interval") -> str:
    return f"max by ({by}) (rate(jobgate_{name}{{{_PAIR}}}[{window}]))"


def _quantiles(name: str) -> list[tuple[str, str]]:
    buckets = f"sum by (le) ({_rate(f'job_{name}_seconds_bucket', 'task, queue, le')})"
    return [(f"histogram_quantile({q}, {buckets})", f"p{round(q * 100)}") for q in (0.5, 0.95, 0.99)]


def _rate_of_state(state: str) -> str:
    """Of jobgate_jobs_ended_total: unlike a counter by exception it has zeros, so that a first burst is drawn."""
    return f'sum(max by (task, queue) (rate(jobgate_jobs_ended_total{{{_PAIR},state="{state}"}}[$__rate_interval])))'


PANELS = (
    Panel(
        "Jobs due",
        [('sum(max by (queue) (jobgate_queue_depth{queue=~"$queue"}))', "")],
        kind="stat",
        width=6,
    ),
    Panel(
        "Oldest due job",
        [('max(jobgate_queue_oldest_job_age_seconds{queue=~"$queue"})', "")],
        unit="s",
        kind="stat",
        width=6,
    ),
    Panel("Workers", [('sum(max by (executor) (jobgate_workers{state="up"}))', "")], kind="stat", width=6),
    Panel(
        "Slots in use",
        [("sum(max by (executor) (jobgate_worker_slots_busy)) / sum(max by (executor) (jobgate_worker_slots))", "")],
        unit="percentunit",
        kind="stat",
        width=6,
    ),
    Panel(
        "Jobs that have not ended",
        [('sum by (state) (max by (queue, state) (jobgate_jobs{queue=~"$queue"}))', "{{state}}")],
    ),
    Panel(
        "Oldest due job by queue",
        [('max by (queue) (jobgate_queue_oldest_job_age_seconds{queue=~"$queue"})', "{{queue}}")],
        unit="s",
    ),
    Panel(
        "Jobs ended",
        [
            (_rate_of_state("SUCCESS"), "succeeded"),
            (_rate_of_state("FAILURE"), "failed"),
            *((f"sum({_rate(f'jobs_{name}_total')})", name) for name in ("cancelled", "expired")),
        ],
        unit="ops",
    ),
    Panel("Jobs submitted by task", [(f"sum by (task) ({_rate('jobs_submitted_total')})", "{{task}}")], unit="ops"),
    Panel("Runtime", _quantiles("runtime"), unit="s"),
    Panel("Wait, from due to start", _quantiles("wait"), unit="s"),
    Panel(
        "Failures by exception",
        [(f"topk(10, sum by (task, exception) ({_rate('jobs_failed_total', 'task, queue, exception')}))",
          "{{task}} {{exception}}")],
        unit="ops",
    ),
    Panel(
        "Attempts retried, lost, interrupted",
        [(f"sum({_rate(f'jobs_{state}_total')})", state) for state in ("retried", "lost", "interrupted")],
        unit="ops",
    ),
)  # fmt: skip  # one panel a block


def _panel(number: int, panel: Panel, x: int, y: int, height: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + n), "expr": expression, "legendFormat": legend, "datasource": _SOURCE}
        for n, (expression, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": height},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _placed() -> list[dict[str, Any]]:
    """Left to right, then down; Grafana's rows are 24 wide."""
    placed, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(PANELS, 1):
        if x + panel.width > 24:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        placed.append(_panel(number, panel, x, y, height))
        x += panel.width
    return placed


def _variable(name: str) -> dict[str, Any]:
    query = f"label_values(jobgate_jobs_submitted_total, {name})"
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, Any]:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "jobgate",
        "title": "Jobgate",
        "tags": ["jobgate"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source, _variable("task"), _variable("queue")]},
        "panels": _placed(),
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))
