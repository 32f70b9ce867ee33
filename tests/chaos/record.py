"""What the record and the ledger say, side by side, once all is quiet."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bench.record import Record
from tests.chaos.load import FINAL, Load
from tests.support.ledger import Ledger

OPEN = "SELECT count(*) FROM jobs WHERE finished_at IS NULL"
_ROWS = "SELECT number, id, idempotency_key, status, attempt, result, error_code, failures, losses FROM jobs"
_EVENTS = "SELECT job, was, status, attempt, error_code, at FROM events ORDER BY seq"

#: How each kind of job shall end.
_ENDS = {"broken": {"FAILURE"}, "cancelled": {"SUCCESS", "REVOKED"}}
_REFUSAL = re.compile(r"had lost its lease; its outcome is refused")


class Row(NamedTuple):
    number: int
    id: str
    key: str
    status: str
    attempt: int
    result: Any
    code: str | None
    failures: int
    losses: int


class Ledgered(NamedTuple):
    """The lines of one word in the ledger: how often each (key, attempt) stands there, and when last."""

    times: Counter[tuple[str, int]]
    at: dict[tuple[str, int], float]


class Verdict(NamedTuple):
    """Counts, and the first few of each thing that must not be."""

    figures: dict[str, int]
    faults: dict[str, list[str]]

    @property
    def clean(self) -> bool:
        return not any(self.faults.values())


def read_ledger(lines: Iterable[str]) -> dict[str, Ledgered]:
    found = {word: Ledgered(Counter(), {}) for word in ("start", "end")}
    for line in lines:
        word, key, attempt, _, at = line.split()
        where = key, int(attempt)
        found[word].times[where] += 1
        found[word].at[where] = float(at)
    return found


class Books:
    """Everything that was written down in a run of the product."""

    def __init__(self, url: str, load: Load, ledger: Ledger, logs: Iterable[str]) -> None:
        with Record(url) as record:
            rows = [Row(*row) for row in record.execute(_ROWS)]
            events = record.execute(_EVENTS)
        self.load = load
        self.rows = {row.key.partition(":")[2]: row for row in rows if row.key}
        self.doubled = [key for key, n in Counter(row.key for row in rows if row.key).items() if n > 1]
        self.events: Mapping[int, list[Any]] = defaultdict(list)
        for event in events:
            self.events[event[0]].append(event)
        # After the rows: what they say has happened must stand in it by now.
        self.ledger = read_ledger(ledger.lines())
        self.refusals = sum(len(_REFUSAL.findall(log)) for log in logs)

    def verdict(self) -> Verdict:
        starts, ends = self.ledger["start"], self.ledger["end"]
        again = self._again()
        faults = {
            "lost": self._lost(),
            "ended twice": [key for key, row in self.rows.items() if self._endings(row) > 1],
            "wrongly reported": [*self.load.changed, *self._wrong()],
            "stuck": [f"{key}: {row.status}" for key, row in self.rows.items() if row.status not in FINAL],
            "two jobs under one key": [*self.doubled, *self.load.doubled],
            "begun without a claim, or twice in one": self._unclaimed(),
            "run again without a reason": [key for key in again if not self._explained(self.rows[key])],
            "late outcomes accepted": self._stale(),
        }
        figures = {
            "accepted": len(self.load.accepted),
            "bodies begun": sum(starts.times.values()),
            "bodies done": sum(ends.times.values()),
            "jobs whose body ran more than once": len(again),
            "attempts lost": sum(row.losses for row in self.rows.values()),
            "late outcomes refused": self.refusals,
            "submissions sent again": self.load.retries,
            "looks at a status": self.load.looks,
        }
        return Verdict(figures, faults)

    def _lost(self) -> list[str]:
        return [
            key for key, job_id in self.load.accepted.items() if key not in self.rows or self.rows[key].id != job_id
        ]

    def _endings(self, row: Row) -> int:
        return sum(event[2] in FINAL for event in self.events[row.number])

    def _wrong(self) -> list[str]:
        """A status that is not what happened."""
        found = []
        for key, row in self.rows.items():
            kind = key.partition("-")[0]
            told = self.load.first_final.get(key)
            if row.status in FINAL and row.status not in _ENDS.get(kind, {"SUCCESS"}):
                found.append(f"{key}: {row.status} {row.code}")
            elif told is not None and told.status != row.status:
                found.append(f"{key}: told {told.status}, now {row.status}")
            elif row.status == "SUCCESS" and json.loads(row.result) != [key, row.attempt]:
                found.append(f"{key}: the result of attempt {row.result}, not {row.attempt}")
            elif row.status == "SUCCESS" and (key, row.attempt) not in self.ledger["end"].times:
                found.append(f"{key}: SUCCESS, but its body did not get to its end")
            elif self._started_after_cancel(key, row):
                found.append(f"{key}: it was said to be revoked, and ran")
        return found

    def _started_after_cancel(self, key: str, row: Row) -> bool:
        cancel = self.load.cancels.get(key)
        if cancel is None or cancel.status != "revoked":
            return False
        return row.status != "REVOKED" or self.ledger["start"].at.get((key, row.attempt), 0) > cancel.at

    def _again(self) -> list[str]:
        """Jobs whose bodies began more often than their own failures made necessary."""
        begun = Counter(key for key, _ in self.ledger["start"].times.elements())
        return [key for key, row in self.rows.items() if begun[key] > 1 + row.failures]

    def _explained(self, row: Row) -> bool:
        """Each attempt but the last left STARTED by an event that says why."""
        left = {event[3] for event in self.events[row.number] if event[1] == "STARTED"}
        return left >= set(range(1, row.attempt))

    def _unclaimed(self) -> list[str]:
        starts = self.ledger["start"].times
        odd = [f"{key} {attempt}: {n} times" for (key, attempt), n in starts.items() if n > 1]
        return odd + [f"{key} {n}" for key, n in starts if key in self.rows and n > self.rows[key].attempt]

    def _stale(self) -> list[str]:
        """Attempts that left STARTED twice, or ended a job that somebody else held by then."""
        found = []
        for key, row in self.rows.items():
            left = Counter(event[3] for event in self.events[row.number] if event[1] == "STARTED")
            found += [f"{key} {attempt}" for attempt, n in left.items() if n > 1]
        return found
