"""The large families as text, fast: what was rendered once is kept until it counts on.

prometheus_client's own renderer takes 138 ms of the interpreter for a hundred tasks in ten queues.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import accumulate
from math import fsum

from tasks.store.stretch import BOUNDS, bound_label
from tasks.store.tallies import Pair, Series

#: Series rendered without a pause; a pause lets requests through.
STEP = 200

COUNTERS = {
    "submitted": "Jobs accepted.",
    "started": "Attempts started.",
    "succeeded": "Jobs that ended in SUCCESS.",
    "failed": "Jobs that ended in FAILURE, by class of the exception, or the error's code where there was none.",
    "retried": "Attempts that failed and will be followed by another.",
    "interrupted": "Attempts given back unharmed because their process was shutting down.",
    "cancelled": "Jobs that were cancelled, waiting or running.",
    "expired": "Jobs that had not started when they expired.",
    "lost": "Attempts whose worker was lost; the job failed or runs again.",
}
HISTOGRAMS = {
    "runtime": "Seconds that attempts ran, whatever their outcome; without those that were lost or interrupted.",
    "wait": "Seconds from the moment a job was due to the start of its attempt.",
}

_Renderer = Callable[[str, Series], str]


def escape(value: str) -> str:
    """`value` as it stands between the quotes of a label."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _counter(name: str) -> _Renderer:
    def render(labels: str, series: Series) -> str:
        return f"jobgate_jobs_{name}_total{{{labels}}} {series[''][0]}\n"

    return render


def _failed(labels: str, series: Series) -> str:
    return "".join(
        f'jobgate_jobs_failed_total{{{labels},exception="{escape(exception)}"}} {count}\n'
        for exception, (count, _) in series.items()
    )


def _histogram(name: str, bounds: tuple[float, ...]) -> _Renderer:
    family = f"jobgate_job_{name}_seconds"
    buckets = [bound_label(bounds, n) for n in range(len(bounds) + 1)]
    # "\0" stands for the labels: no label can hold one.
    lines = [f'{family}_bucket{{\0,le="{bucket}"}} %d\n' for bucket in buckets]
    template = "".join([*lines, f"{family}_count{{\0}} %d\n", f"{family}_sum{{\0}} %r\n"])
    places = {bucket: n for n, bucket in enumerate(buckets)}

    def render(labels: str, series: Series) -> str:
        counts = [0] * len(buckets)
        for label, (count, _) in series.items():
            # A bound of an older release counts in the bucket that holds it.
            counts[places[label] if label in places else bisect_left(bounds, float(label))] += count
        # Exact, and so the same in every order: a sum that steps back by one bit is a reset to Prometheus.
        total = fsum(seconds for _, seconds in series.values())
        return template.replace("\0", labels.replace("%", "%%")) % (*accumulate(counts), sum(counts), total)

    return render


def _head(name: str, kind: str, words: str) -> bytes:
    return f"# HELP {name} {words}\n# TYPE {name} {kind}\n".encode()


class Families:
    """Keeps the text of every series."""

    def __init__(self) -> None:
        self._renderers = {
            **{name: _counter(name) for name in COUNTERS},
            "failed": _failed,
            **{name: _histogram(name, BOUNDS[name]) for name in HISTOGRAMS},
        }
        self._kept: dict[str, dict[Pair, tuple[Series, bytes]]] = {name: {} for name in self._renderers}
        self._labels: dict[Pair, str] = {}

    async def render(self, series: Mapping[str, Mapping[Pair, Series]], openmetrics: bool) -> list[bytes]:
        """The families in parts. A counter's name is without `_total` in the heads of OpenMetrics."""
        parts: list[bytes] = []
        suffix = "" if openmetrics else "_total"
        for name, words in COUNTERS.items():
            parts.append(_head(f"jobgate_jobs_{name}{suffix}", "counter", words))
            parts += await self._lines(name, series.get(name, {}))
        for name, words in HISTOGRAMS.items():
            parts.append(_head(f"jobgate_job_{name}_seconds", "histogram", words))
            parts += await self._lines(name, series.get(name, {}))
        return parts

    async def _lines(self, name: str, family: Mapping[Pair, Series]) -> list[bytes]:
        lines, rendered, all_kept = [], 0, self._kept[name]
        # A copy: somebody may fold during a pause.
        for pair, series in list(family.items()):
            kept = all_kept.get(pair)
            if kept is None or kept[0] is not series:
                kept = self._keep(name, pair, series)
                rendered += 1
                if rendered % STEP == 0:
                    await asyncio.sleep(0)
            lines.append(kept[1])
        return lines

    def _keep(self, name: str, pair: Pair, series: Series) -> tuple[Series, bytes]:
        labels = self._labels.get(pair)
        if labels is None:
            labels = self._labels[pair] = f'task="{escape(pair[0])}",queue="{escape(pair[1])}"'
        kept = series, self._renderers[name](labels, series).encode()
        self._kept[name][pair] = kept
        return kept
