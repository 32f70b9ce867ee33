"""A machine that does to the record whatever processes may do to it, in any order, and holds it against the rules.

It drives the store's own SQL. `wording` is that SQL by name; a test may put broken words in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tasks.job import FINAL, WAITING, State
from tasks.step import MOVES
from tasks.store import statements, upkeep, workers
from tasks.store.backend import PARAM, Query, Rows
from tasks.store.schema import jobs
from tasks.store.statements import kind
from tasks.store.writer import new_row
from tests.store.support import GRACE, LEASE, START, new_job

QUEUES = ["q", "r"]
WORDING: Mapping[str, str] = {
    "ACCEPT": statements.ACCEPT,
    "CLAIM": statements.CLAIM,
    "TAKE": statements.take([QUEUES]),
    "SETTLE": statements.SETTLE,
    "RENEW": statements.RENEW,
    "CANCEL": statements.CANCEL,
    "HOLD": statements.HOLD,
    "RELEASE": statements.RELEASE,
    "STAGE": upkeep.STAGE,
    "EXPIRE": upkeep.EXPIRE,
    "REAP": upkeep.REAP,
    "ABANDON": upkeep.ABANDON,
    "BEAT": workers.BEAT,
    "GONE": workers.GONE,
}
#: Which of `step.MOVES` a statement may make; the others change no status.
MAKES = {
    "CLAIM": ["claim"],
    "TAKE": ["claim"],
    "SETTLE": ["succeed", "fail", "retry", "stop", "interrupt"],
    "CANCEL": ["cancel"],
    "EXPIRE": ["expire"],
    "REAP": ["reap"],
}
COLUMNS = ["id", *(column.name for column in jobs.columns if column.name not in ("id", "number"))]
SNAPSHOT = Query(f"SELECT {', '.join(COLUMNS)} FROM jobs")
EVENTS = Query("SELECT id, was, e.status FROM events AS e JOIN jobs ON number = job ORDER BY seq")

Row = Mapping[str, Any]
Snapshot = dict[str, Row]
owners = st.sampled_from(["me", "me", "me", "you"])
lags = st.sampled_from([0, 0, 0, 1])
#: Mostly the first of those that live, now and then the last of those that have ended.
picks = st.sampled_from([0, 0, 1, 1, 2, -1])
_terms = {"mode": "thread", "lease": LEASE, "grace": GRACE}


class Machine(RuleBasedStateMachine):
    """Set `transact`, which runs a program in one transaction, on a subclass."""

    transact: Callable[[list[Query]], list[Rows]]
    wording: ClassVar[Mapping[str, str]] = WORDING

    @initialize()
    def begin(self) -> None:
        self.now = START
        self.rows: Snapshot = {}
        #: When each owner showed life last.
        self.seen: dict[str, int] = {}
        tables = ("jobs", "events", "workers")
        self._run([*(Query(f"DELETE FROM {table}") for table in tables), self._clock()])
        # A few to begin with, one of them ended, so that no rule is idle for long.
        for fields in (
            {},
            {},
            {"expires_in": 4_000, "max_losses": 0},
            {"time_limit": 6.0, "priority": 6},
            {"delay": 3_000},
        ):
            self._apply("ACCEPT", rows=[new_row(new_job(**fields), "thread")])
        first = min(self.rows)
        self._apply("CLAIM", rows=[[first]], owner="me", **_terms)
        limited = next(job for job, row in self.rows.items() if row["time_limit"])
        self._apply("CLAIM", rows=[[limited]], owner="you", **_terms)
        self.beat("you")
        self._apply("SETTLE", rows=[[first, 1, "me", State.SUCCESS, 0, "1", 0.1, 0, None, None, None, None]])

    @rule(
        queue=st.sampled_from(QUEUES),
        priority=st.integers(4, 6),
        delay=st.sampled_from([0, 0, 0, 3_000]),
        expires_in=st.sampled_from([None, None, 4_000]),
        time_limit=st.sampled_from([None, None, 6.0]),
        max_losses=st.integers(0, 1),
        held=st.sampled_from([False, False, True]),
    )
    def accept(self, **fields: Any) -> None:
        job = new_job(**fields)
        self._apply("ACCEPT", rows=[new_row(job, "thread")])
        assert job.id in self.rows  # I1

    @rule(pick=picks, owner=owners)
    def claim(self, pick: int, owner: str) -> None:
        job = self._pick(pick)
        before, answer = self._apply("CLAIM", rows=[[job]], owner=owner, **_terms)
        self._claimed(before, answer, owner, [job] if self._claimable(before, job) else [])

    @rule(owner=owners, n=st.integers(1, 3))
    def take(self, owner: str, n: int) -> None:
        before, answer = self._apply("TAKE", owner=owner, n=n, q0="q", q1="r", **_terms)
        ready = [job for job, row in before.items() if row["rank"] is not None and self._claimable(before, job)]
        best = sorted(ready, key=lambda job: (before[job]["due_at"] - 60_000 * before[job]["priority"], job))
        self._claimed(before, answer, owner, best[:n])

    @rule(
        picks=st.lists(picks, min_size=1, max_size=2, unique=True),
        owner=owners,
        lag=lags,
        goal=st.sampled_from(sorted([*FINAL, *WAITING])),
        delay=st.sampled_from([0, 2_000]),
    )
    def settle(self, picks: list[int], owner: str, lag: int, goal: State, delay: int) -> None:
        wanted = {job: self.rows[job]["attempt"] - lag for job in map(self._pick, picks) if job in self.rows}
        failed = int(goal in (State.FAILURE, State.RETRY))
        rows = [[job, n, owner, goal, delay, "1", 0.1, failed, None, None, None, None] for job, n in wanted.items()]
        before, answer = self._apply("SETTLE", rows=rows)
        held = [job for job, attempt in wanted.items() if _holds(before[job], attempt, owner)]
        assert sorted(row[0] for row in answer) == sorted(held)
        self._touched(before, held)
        for job in held:
            stopped = goal in WAITING and before[job]["cancel_requested_at"] is not None
            assert self.rows[job]["status"] == (State.REVOKED if stopped else goal)
            assert self.rows[job]["failures"] == before[job]["failures"] + failed

    @rule(pick=picks, owner=owners, lag=lags)
    def renew(self, pick: int, owner: str, lag: int) -> None:
        job = self._pick(pick)
        attempt = self.rows[job]["attempt"] - lag if job in self.rows else 1
        before, answer = self._apply("RENEW", rows=[[job, attempt]], owner=owner, lease=LEASE, grace=GRACE)
        held = [job] if job in before and _holds(before[job], attempt, owner) else []
        assert [row[0] for row in answer] == held
        self._touched(before, held)
        for row in map(self.rows.__getitem__, held):  # I7
            limit = row["time_limit"]
            deadline = row["started_at"] + limit * 1000 + statements.OVERRUN if limit else self.now + LEASE
            ends = [self.now + LEASE, deadline if deadline >= self.now else before[row["id"]]["lease_until"]]
            ends += [row["cancel_requested_at"] + GRACE] if row["cancel_requested_at"] else []
            assert row["lease_until"] == min(ends)

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job = self._pick(pick)
        before, answer = self._apply("CANCEL", id=job, grace=GRACE)
        open_now = [job] if job in before and before[job]["status"] not in FINAL else []
        assert [row[0] for row in answer] == open_now
        self._touched(before, open_now)
        assert all(self.rows[job]["cancel_requested_at"] is not None for job in open_now)

    @rule(pick=picks, name=st.sampled_from(["HOLD", "RELEASE"]))
    def hold_or_release(self, pick: int, name: str) -> None:
        job = self._pick(pick)
        before, answer = self._apply(name, id=job)
        waits = [job] if job in before and before[job]["status"] in WAITING else []
        assert [row[0] for row in answer] == waits
        self._touched(before, waits)

    @rule()
    def stage(self) -> None:
        self._upkeep("STAGE", lambda row: _waits(row) and row["due_at"] <= self.now and row["rank"] is None)

    @rule()
    def expire(self) -> None:
        self._upkeep("EXPIRE", lambda row: row["status"] in WAITING and (row["expires_at"] or 1e15) <= self.now)

    @rule()
    def reap(self) -> None:
        before = self._upkeep("REAP", lambda row: row["status"] == State.STARTED and row["lease_until"] < self.now)
        for job in [job for job in before if before[job] != self.rows[job]]:
            stopped = before[job]["cancel_requested_at"] is not None
            assert (self.rows[job]["status"] == State.REVOKED) == stopped
            overran = not stopped and self._overran(before[job])  # I10
            assert (self.rows[job]["error_code"] == "timeout") == overran
            assert self.rows[job]["losses"] == before[job]["losses"] + (not stopped and not overran)

    @rule(owner=owners)
    def abandon(self, owner: str) -> None:
        before, answer = self._apply("ABANDON", rows=[[owner]])
        theirs = [job for job, row in before.items() if row["owner"] == owner]
        assert sorted(row[0] for row in answer) == sorted(theirs)
        self._touched(before, theirs)

    @rule(owner=owners)
    def live(self, owner: str) -> None:
        self.beat(owner)

    def beat(self, owner: str) -> None:
        nothing = {name: "" if kind(name) == "TEXT" else 0 for name in PARAM.findall(workers.BEAT)}
        before, _ = self._apply("BEAT", **{**nothing, "owner": owner})
        self.seen[owner] = self.now
        self._touched(before, [])

    @rule(owner=owners)
    def gone(self, owner: str) -> None:
        before, _ = self._apply("GONE", owner=owner)
        self.seen.pop(owner, None)
        self._touched(before, [])

    @rule(milliseconds=st.sampled_from([1, 1_000, 5_500, LEASE]))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds
        self._run([self._clock()])

    @invariant()
    def every_row_makes_sense(self) -> None:
        for row in getattr(self, "rows", {}).values():
            runs, waits = row["status"] == State.STARTED, row["status"] in WAITING
            assert runs == (row["owner"] is not None) == (row["lease_until"] is not None)  # I8
            assert (row["status"] in FINAL) == (row["finished_at"] is not None)
            assert not (waits and row["cancel_requested_at"])  # I6
            assert row["losses"] <= row["max_losses"] + (not waits)  # I5
            assert row["rank"] is None or (_waits(row) and row["due_at"] <= self.now)

    def teardown(self) -> None:
        if not hasattr(self, "rows"):
            return
        told: dict[str, list[tuple[str | None, str]]] = {job: [] for job in self.rows}
        for job, was, status in self._run([EVENTS])[0]:
            told[job].append((was, status))
        for job, steps in told.items():
            assert [was for was, _ in steps] == [None, *(status for _, status in steps[:-1])]
            assert steps[-1][1] == self.rows[job]["status"]
            assert sum(status == State.STARTED for _, status in steps) == self.rows[job]["attempt"]  # I4
            assert sum(status in FINAL for _, status in steps) <= 1  # I3

    def _pick(self, number: int) -> str:
        """The live ones first: what a rule does to them tells more."""
        jobs = sorted(self.rows, key=lambda job: (self.rows[job]["status"] in FINAL, job))
        return jobs[number % len(jobs)] if jobs else "nobody"

    def _claimable(self, before: Snapshot, job: str) -> bool:
        row = before.get(job)
        return row is not None and _waits(row) and row["rank"] is not None and self._in_time(row)

    def _in_time(self, row: Row) -> bool:
        return bool(row["due_at"] <= self.now and (row["expires_at"] is None or row["expires_at"] > self.now))

    def _overran(self, row: Row) -> bool:
        """Its process has shown life since the limit, and nobody has declared it dead."""
        if row["time_limit"] is None:
            return False
        limit = row["started_at"] + row["time_limit"] * 1000
        return bool(row["lease_until"] >= limit and self.seen.get(row["owner"], 0) >= limit)

    def _claimed(self, before: Snapshot, answer: Rows, owner: str, expected: Sequence[str]) -> None:
        assert sorted(row[0] for row in answer) == sorted(expected)
        self._touched(before, expected)
        for job in expected:  # I9
            row = self.rows[job]
            assert (row["owner"], row["attempt"]) == (owner, before[job]["attempt"] + 1)
            assert self._in_time(row)
            assert self.now < row["lease_until"] <= self.now + LEASE

    def _upkeep(self, name: str, meant: Callable[[Row], bool]) -> Snapshot:
        before, _ = self._apply(name, n=100)
        self._touched(before, [job for job, row in before.items() if meant(row)])
        return before

    def _touched(self, before: Snapshot, expected: Sequence[str]) -> None:
        """Nobody else's row has changed."""
        assert {job for job in before if before[job] != self.rows[job]} <= set(expected)

    def _apply(self, statement: str, /, rows: Any = None, **params: Any) -> tuple[Snapshot, Rows]:
        """Run a statement; what was there before it, and what it returned."""
        before = self.rows
        answer, found = self._run([Query(self.wording[statement], params, rows=rows), SNAPSHOT])
        self.rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in found}
        for job, row in before.items():
            _legal(statement, row, self.rows[job])
        return before, answer

    def _run(self, program: list[Query]) -> list[Rows]:
        return self.transact(program)

    def _clock(self) -> Query:
        return Query("UPDATE clock SET ms = CAST(:lease AS BIGINT)", {"lease": self.now})


def _waits(row: Row) -> bool:
    return row["status"] in WAITING and not row["held"]


def _holds(row: Row, attempt: int, owner: str) -> bool:
    return (row["status"], row["attempt"], row["owner"]) == (State.STARTED, attempt, owner)


def _legal(name: str, before: Row, after: Row) -> None:
    """What no statement may ever do to a row."""
    if before["status"] in FINAL:
        assert after == before  # I2
    moved = before["status"] != after["status"]
    claimed = moved and after["status"] == State.STARTED
    assert after["attempt"] == before["attempt"] + claimed  # I4
    if moved:
        legal = [MOVES[move] for move in MAKES.get(name, [])]
        assert any(before["status"] in leaves and after["status"] in reaches for leaves, reaches in legal)
