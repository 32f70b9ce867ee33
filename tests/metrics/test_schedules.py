"""What a scrape says of schedules."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from metrics import schedules
from metrics.exposition import Exposition
from metrics.instruments import Build
from metrics.schedules import Schedules, families
from tasks.schedule import Spec
from tasks.store.schedule_store import Counter, Fire, Move, ScheduleStore
from tasks.store.store import JobStore
from tests.store.support import new_job


async def scraped(store: JobStore) -> dict[str, float]:
    page = (await Exposition(store, Build(version="1", executor="thread", database="x")).render()).decode()
    return {
        sample.name + "".join(f",{value}" for value in sample.labels.values()): sample.value
        for family in parse_text(page)
        for sample in family.samples
        if sample.name.startswith("jobgate_schedule")
    }


async def test_fires_misses_skips_and_lateness(store: JobStore) -> None:
    owner = ScheduleStore(store, "me")
    assert (await scraped(store))["jobgate_schedule_lateness_seconds_count"] == 0
    spec = Spec(name='night "ly"', task="t", every=60)
    row = await owner.add(spec, declared=None, origin="operator", enabled=True, anchor=0, next_at=60_000)
    assert row is not None
    found = await scraped(store)
    assert found['jobgate_schedule_overdue_seconds,night "ly"'] > 1e9, "nobody has fired since 1970"
    now = await store.now()
    move = Move(schedule=row, next_at=now + 60_000, missed=3, skipped=2)
    fire = Fire(schedule_id=row.id, fire_at=now - 2000, outcome="fired", job=new_job(), late=2.0)
    assert len(await owner.move([move], [fire])) == 1
    found = await scraped(store)
    assert found['jobgate_schedule_fires_total,night "ly"'] == 1
    assert found['jobgate_schedule_missed_total,night "ly"'] == 3
    assert found['jobgate_schedule_skipped_total,night "ly"'] == 2
    assert found['jobgate_schedule_overdue_seconds,night "ly"'] == 0
    assert found["jobgate_schedule_lateness_seconds_bucket,1.0"] == 0
    assert found["jobgate_schedule_lateness_seconds_bucket,2.5"] == 1
    assert found["jobgate_schedule_lateness_seconds_count"] == 1
    assert found["jobgate_schedule_lateness_seconds_sum"] == pytest.approx(2.0, abs=1.0)


def test_many_schedules_are_not_many_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 2)
    counters = [Counter(name, 1, 2, 3, wait) for name, wait in (("a", 5), ("b", None), ("c", -4000), ("d", 9))]
    found = {
        (sample.name, sample.labels.get("schedule")): sample.value
        for family in families(Schedules(counters, {}))
        for sample in family.samples
    }
    assert {name for _, name in found if name is not None} == {"a", "b", "other"}
    assert found["jobgate_schedule_missed_total", "other"] == 4
    assert found["jobgate_schedule_overdue_seconds", "other"] == 4.0
