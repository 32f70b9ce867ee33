"""The limit on the number of series: pairs of task and queue, and exceptions of a task, beyond it count as `other`."""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping

from tasks.store.stretch import MAX_NAME, OTHER

log = logging.getLogger("jobgate.metrics")

Pair = tuple[str, str]

#: Pairs of task and queue with counters of their own, beside those that are expected.
MAX_PAIRS = 2_000
#: Exceptions of one task, in all its queues.
MAX_EXCEPTIONS = 50
#: Names that the log line has.
NAMED = 5

#: Names in the table of what has no pair.
UNPAIRED = ("jobs", "superseded", "dropped")


class SeriesLimit:
    """Admits names as they are counted. The log names the first ones not admitted, once until there is room."""

    def __init__(self) -> None:
        self.expected: Collection[Pair] = frozenset()
        self._pairs: set[Pair] = set()
        self._exceptions: dict[str, set[str]] = defaultdict(set)
        self._dropped = 0
        self._first: dict[str, None] = {}
        self._logged = False

    def expect(self, pairs: Collection[Pair]) -> None:
        """Always admits these pairs: those of registered tasks, a closed set."""
        self.expected = frozenset(pairs)
        self._pairs.difference_update(self.expected)

    def load(self, table: Mapping[str, Mapping[Pair, Collection[str]]]) -> None:
        """Admits what is in the table: labels by pair by name."""
        self._pairs = {pair for name, pairs in table.items() if name not in UNPAIRED for pair in pairs}
        self._pairs.difference_update(self.expected)
        self._exceptions = defaultdict(set)
        for (task, _), labels in table.get("failed", {}).items():
            self._exceptions[task].update(label for label in labels if label != OTHER)

    def pair(self, task: str, queue: str, events: int) -> Pair:
        """The pair under which so many events of a task in a queue count."""
        pair = sys.intern(task[:MAX_NAME]), sys.intern(queue[:MAX_NAME])
        if pair in self._pairs or pair in self.expected:
            return pair
        if len(self._pairs) >= MAX_PAIRS:
            self._drop(f"task {pair[0]!r} in queue {pair[1]!r}", events)
            return OTHER, OTHER
        self._pairs.add(pair)
        return pair

    def exception(self, task: str, exception: str, events: int) -> str:
        """The label under which so many failures of a task with an exception count."""
        known = self._exceptions[task]
        if exception not in known and len(known) >= MAX_EXCEPTIONS:
            self._drop(f"exception {exception!r} of task {task!r}", events)
            return OTHER
        known.add(exception)
        return exception

    def take_dropped(self) -> int:
        """The number of events that were not admitted since this was called last."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def report(self) -> None:
        """Logs the first names that were not admitted, if that has not been done yet."""
        if self._first and not self._logged:
            log.warning(
                "metrics: there are %d pairs of task and queue, or %d exceptions of a task: %s, and what else is new, "
                "count as `other` until pairs without events for JOBGATE_JOB_RETENTION make room",
                MAX_PAIRS,
                MAX_EXCEPTIONS,
                ", ".join(self._first),
            )
            self._logged = True

    def made_room(self) -> None:
        """Lets the log name what is not admitted from now on."""
        self._first.clear()
        self._logged = False

    def _drop(self, name: str, events: int) -> None:
        self._dropped += events
        if len(self._first) < NAMED:
            self._first[name] = None
