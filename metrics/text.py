"""The large families as text, fast: what was rendered once is kept until it counts on.

prometheus_client's own renderer takes 138 ms of the interpreter for a hundred tasks in ten queues. Every pair of task
and queue that is known has every counter, zeros too: Prometheus takes no rate of a series that begins with its count.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Mapping
from itertools import accumulate
from math import fsum

from metrics.expected import NO_PAIRS, Expected
from tasks.job import State
from tasks.store.series_limit import Pair
from tasks.store.stretch import BOUNDS, bound_label
from tasks.store.tallies import Series

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

#: The counters that add up to each `state` of jobgate_jobs_ended_total, and what the family counts.
ENDED = {
    State.SUCCESS: ("succeeded",),
    State.FAILURE: ("failed",),
    State.REVOKED: ("cancelled", "expired"),
}
_ENDED_HELP = "Jobs that ended, by the state they ended in; REVOKED: cancelled or expired."

#: The series of a pair that has not counted. One object, so that `is` tells that nothing has changed.
NOTHING: Series = {}

_Renderer = Callable[[str, Series], str]


def escape(value: str) -> str:
    """`value` as it stands between the quotes of a label."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _count(series: Series) -> int:
    return sum(count for count, _ in series.values())


def _counter(name: str) -> _Renderer:
    def render(labels: str, series: Series) -> str:
        return f"jobgate_jobs_{name}_total{{{labels}}} {_count(series)}\n"

    return render


def _failed(labels: str, series: Series) -> str:
    return "".join(
        f'jobgate_jobs_failed_total{{{labels},exception="{escape(exception)}"}} {count}\n'
        for exception, (count, _) in series.items()
    )


def _ends_of(pair: Pair, families: Mapping[str, Mapping[Pair, Series]]) -> str:
    labels = _labels(pair)
    return "".join(
        f'jobgate_jobs_ended_total{{{labels},state="{state}"}} '
        f"{sum(_count(families[name].get(pair, NOTHING)) for name in names)}\n"
        for state, names in ENDED.items()
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


def _labels(pair: Pair) -> str:
    return f'task="{escape(pair[0])}",queue="{escape(pair[1])}"'


def _head(name: str, kind: str, words: str) -> bytes:
    return f"# HELP {name} {words}\n# TYPE {name} {kind}\n".encode()


class Families:
    """Keeps the text of every series. `expected`: the pairs that are shown before they have counted."""

    def __init__(self, expected: Expected = NO_PAIRS) -> None:
        self._expected = expected
        self._renderers: dict[str, _Renderer] = {
            **{name: _counter(name) for name in COUNTERS},
            "failed": _failed,
            **{name: _histogram(name, BOUNDS[name]) for name in HISTOGRAMS},
        }
        self._kept: dict[str, dict[Pair, tuple[Series, bytes]]] = {name: {} for name in self._renderers}
        self._ended: dict[Pair, bytes] = {}
        self._turn = asyncio.Lock()

    async def render(self, series: Mapping[str, Mapping[Pair, Series]], openmetrics: bool) -> list[bytes]:
        """The families in parts. A counter's name is without `_total` in the heads of OpenMetrics."""
        async with self._turn:
            # A copy: counting goes on during the pauses, and the families of one page belong together.
            families = {name: dict(series.get(name, {})) for name in (*COUNTERS, *HISTOGRAMS)}
            return await self._parts(families, "" if openmetrics else "_total")

    async def _parts(self, families: Mapping[str, Mapping[Pair, Series]], suffix: str) -> list[bytes]:
        seen = list(dict.fromkeys(pair for family in families.values() for pair in family))
        counters, histograms = _united(self._expected.counters, seen), _united(self._expected.histograms, seen)
        parts: list[bytes] = []
        changed: set[Pair] = set()
        for name, words in COUNTERS.items():
            parts.append(_head(f"jobgate_jobs_{name}{suffix}", "counter", words))
            parts += await self._lines(name, counters, families[name], changed)
        parts.append(_head(f"jobgate_jobs_ended{suffix}", "counter", _ENDED_HELP))
        parts += await self._ends(counters, families, changed)
        for name, words in HISTOGRAMS.items():
            parts.append(_head(f"jobgate_job_{name}_seconds", "histogram", words))
            parts += await self._lines(name, histograms, families[name], set())
        return parts

    async def _lines(
        self, name: str, pairs: Iterable[Pair], family: Mapping[Pair, Series], changed: set[Pair]
    ) -> list[bytes]:
        """The text of each pair; adds to `changed` the pairs whose text is not the kept one."""
        render, pause, old = self._renderers[name], _Pause(), self._kept[name]
        # A new dictionary: what is not shown any more is not kept.
        kept = self._kept[name] = {}
        for pair in pairs:
            series = family.get(pair, NOTHING)
            found = old.get(pair)
            if found is None or found[0] is not series:
                found = series, render(_labels(pair), series).encode()
                changed.add(pair)
                await pause.after_one()
            kept[pair] = found
        return [text for _, text in kept.values()]

    async def _ends(
        self, pairs: Iterable[Pair], families: Mapping[str, Mapping[Pair, Series]], changed: Container[Pair]
    ) -> list[bytes]:
        pause, old = _Pause(), self._ended
        kept = self._ended = {}
        for pair in pairs:
            text = old.get(pair)
            if text is None or pair in changed:
                text = _ends_of(pair, families).encode()
                await pause.after_one()
            kept[pair] = text
        return list(kept.values())


class _Pause:
    """Lets other coroutines run after each STEP series that were rendered."""

    def __init__(self) -> None:
        self._rendered = 0

    async def after_one(self) -> None:
        self._rendered += 1
        if self._rendered % STEP == 0:
            await asyncio.sleep(0)


def _united(expected: Iterable[Pair], seen: Iterable[Pair]) -> list[Pair]:
    return list(dict.fromkeys([*expected, *seen]))
