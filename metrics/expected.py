"""The pairs of task and queue whose counters are shown from the first scrape, at zero."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from typing import NamedTuple

from tasks.store.series_limit import Pair

#: Pairs of registered tasks and queues beyond which a task is expected in its own queue only.
MAX_CROSSED = 1_000


class Expected(NamedTuple):
    """`counters`: pairs that have every counter; `histograms`: those of them that have histograms too."""

    counters: Collection[Pair] = ()
    histograms: Collection[Pair] = ()


NO_PAIRS = Expected()


def expected(own: Collection[Pair], queues: Collection[str]) -> Expected:
    """What to expect of tasks and their queues (`own`) where a submission may name any of `queues`.

    Counters are short, so a task has them in every queue; a histogram has some thirty lines, so only in its own.
    """
    crossed = product(dict.fromkeys(task for task, _ in own), sorted(queues))
    few = len(own) * len(queues) <= MAX_CROSSED
    return Expected(dict.fromkeys([*own, *crossed] if few else own), own)
