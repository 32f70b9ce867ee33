"""What is shipped beside the code: the scrape, the alerts, the dashboard, the page about them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from executors.base import Standing
from metrics.exposition import Exposition
from metrics.instruments import Build
from tasks.job import Mode
from tasks.store.store import JobStore
from tests.metrics import rows

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"


def rules() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("dashboard", ROOT / "deploy/grafana/dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, Any] = module.dashboard()
    return made


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def promtool(*args: str | Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool, of the Debian package prometheus, is not installed")
    done = subprocess.run([program, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class StandIn:
    """Threads carry, because the broker is away."""

    standing = Standing(setting="auto", mode=Mode.THREAD, fallback="broker", fallbacks={"broker": 1}, broker_up=False)


async def families(store: JobStore) -> set[str]:
    """Every name a sample can have."""
    await rows.run(store.engine, "t", 1)
    build = Build(version="1", executor="auto", database="sqlite")
    exposition = Exposition(store, build, carrier=StandIn())
    exposition.count_unauthorized({"wrong": 1})
    page = (await exposition.render()).decode()
    heads = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    return heads | {sample.name for family in parse_text(page) for sample in family.samples}


def named(expression: str) -> set[str]:
    return set(re.findall(r"(?<![\w:])jobgate_\w+", expression))


async def test_alerts_and_panels_ask_for_what_is_there(store: JobStore) -> None:
    known = await families(store)
    for expression in [*(rule["expr"] for rule in rules()), *queries()]:
        assert named(expression) <= known, expression


async def test_the_page_names_every_family(store: JobStore) -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    heads = {re.sub("_(bucket|sum|count)$", "", name) for name in await families(store)}
    assert {name for name in heads if name.startswith("jobgate_")} == named(page)


def test_every_alert_says_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) > 5
    for rule in alerts:
        assert rule["alert"].startswith("Jobgate")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_scrape_reads_the_rules() -> None:
    yaml = pytest.importorskip("yaml")
    scrape = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert scrape["scrape_configs"][0]["metrics_path"] == "/metrics"
    assert [(PROMETHEUS / name).exists() for name in scrape["rule_files"]] == [True]


def test_prometheus_takes_the_configuration() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", Path(__file__).parent / "alerts.yml")


def test_the_dashboard_is_the_one_its_function_writes() -> None:
    assert json.loads((ROOT / "deploy/grafana/jobgate.json").read_text()) == dashboard()


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    filled = [query.replace("$__rate_interval", "1m") for query in queries()]
    group = {"name": "panels", "rules": [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(filled)]}
    # A rule file is YAML, and JSON is YAML.
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [group]}))
    promtool("check", "rules", tmp_path / "panels.yml")
