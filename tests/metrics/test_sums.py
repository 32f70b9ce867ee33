"""Sums of histograms: the same whatever the order of their rows, or Prometheus takes a step back for a reset."""

from __future__ import annotations

import random

from metrics.schedules import _lateness
from metrics.text import _histogram
from tasks.store.schedule_store import BOUNDS
from tasks.store.stretch import bound_label


def test_a_sum_does_not_depend_on_the_order_of_its_rows() -> None:
    buckets = [bound_label(BOUNDS, n) for n in range(len(BOUNDS) + 1)]
    chance = random.Random(7)
    rows = [(bucket, (1, chance.random() * 10 ** chance.randrange(-6, 7))) for bucket in buckets]
    render = _histogram("runtime", BOUNDS)
    seen, late = set(), set()
    for _ in range(200):
        chance.shuffle(rows)
        seen.add(render('task="t"', dict(rows)))
        late.add(next(sample.value for sample in _lateness(dict(rows)).samples if sample.name.endswith("_sum")))
    assert (len(seen), len(late)) == (1, 1)
