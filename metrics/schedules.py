"""The families of schedules: what fired, what was missed or skipped, and how late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import fsum

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from tasks.store.schedule_store import BOUNDS, Counter
from tasks.store.stretch import OTHER, bound_label

#: Schedules that are shown by name; the rest together as `other`.
MAX_SCHEDULES = 500


class Schedules(Struct, frozen=True):
    """The schedules at one moment; `lateness` by bucket: how many fire times, and their seconds together."""

    counters: Sequence[Counter]
    lateness: Mapping[str, tuple[int, float]]


def families(schedules: Schedules) -> Iterator[Metric]:
    fired = CounterMetricFamily("jobgate_schedule_fires", "Fire times that became jobs.", labels=["schedule"])
    missed = CounterMetricFamily(
        "jobgate_schedule_missed", "Fire times found too late to be caught up with.", labels=["schedule"]
    )
    skipped = CounterMetricFamily(
        "jobgate_schedule_skipped", "Fire times left out for a job that had not ended.", labels=["schedule"]
    )
    overdue = GaugeMetricFamily(
        "jobgate_schedule_overdue_seconds",
        "How long the next fire time has passed without anybody firing it; 0 if it is to come.",
        labels=["schedule"],
    )
    for counter in _bounded(schedules.counters):
        fired.add_metric([counter.name], counter.fired)
        missed.add_metric([counter.name], counter.missed)
        skipped.add_metric([counter.name], counter.skipped)
        overdue.add_metric([counter.name], max(0.0, -(counter.next_in or 0) / 1000))
    yield from (fired, missed, skipped, overdue, _lateness(schedules.lateness))


def _bounded(counters: Sequence[Counter]) -> list[Counter]:
    shown, rest = list(counters[:MAX_SCHEDULES]), counters[MAX_SCHEDULES:]
    if rest:
        fired, missed, skipped = (sum(getattr(each, name) for each in rest) for name in ("fired", "missed", "skipped"))
        shown.append(Counter(OTHER, fired, missed, skipped, min(each.next_in or 0 for each in rest)))
    return shown


def _lateness(found: Mapping[str, tuple[int, float]]) -> Metric:
    labels = [bound_label(BOUNDS, n) for n in range(len(BOUNDS) + 1)]
    counts = accumulate(found.get(label, (0, 0.0))[0] for label in labels)
    histogram = HistogramMetricFamily(
        "jobgate_schedule_lateness_seconds", "Seconds from a fire time to the moment at which it was served."
    )
    # Exact, and so the same in every order: a sum that steps back by one bit is a reset to Prometheus.
    total = fsum(seconds for _, seconds in found.values())
    histogram.add_metric([], buckets=list(zip(labels, counts, strict=True)), sum_value=total)
    return histogram
