"""Claims due jobs, free and limited ones alike: a program of statements for one transaction.

A due job stands either among the candidates (`waits_for` is NULL, index `jobs_ready`) or behind a limit that had no
room for it (`waits_for` names that limit, index `jobs_waits`). The claim looks at candidates only. One statement claims
them when none of the best has a limit; otherwise the steps below pick, lock the limits, judge and claim. A candidate
that its limit refuses goes behind the limit; `promote` makes the best of those candidates again. Being a candidate is
a hint, never a permit: an extra candidate is refused and costs one look, and only the judgement under the lock of the
limit's row lets a job start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from tasks.job import Attempt
from tasks.store import limits, statements
from tasks.store.backend import Item, Query, Rows, Then

#: Seconds between two tries to lock a limit's row that another transaction holds.
CONTENDED = 0.01
#: Candidates beyond those asked for that a claim judges where the one before it had to refuse some.
SURPLUS = 32
#: Share by which a rate is kept below its limit, and the milliseconds that a late start may be made up for:
#: together they keep any second at or below the rate. See docs/decisions/0031-limits-in-the-claim.md.
MARGIN = 0.03
CATCH_UP = 28.0
#: Milliseconds beyond one interval at which the next start of a rate limit is implausible: the clock was set back.
SLACK = 1_000.0

_STARTED_AT = Attempt.__struct_fields__.index("started_at")


class Room(Struct):
    """What a limit lets pass now. `running` jobs hold it; `step` is milliseconds between two starts, 0 for no rate."""

    name: str
    task: str | None
    step: float
    max_running: int | None
    free_at: float
    now: int
    running: int
    starts: int = 0

    @classmethod
    def of(cls, row: Sequence[Any]) -> Room:
        """A row of `limits.STATE`."""
        name, task, interval, max_running, free_at, now, running = row
        step = interval * (1 + MARGIN)
        plausible = min(free_at, now) if free_at > now + step + SLACK else free_at
        return cls(name, task, step, max_running, max(plausible, now - CATCH_UP), now, running)

    @property
    def wait(self) -> float | None:
        """Milliseconds until a rate lets the next job start; None where no rate is in the way."""
        return self.free_at - self.now if self.step and self.free_at > self.now else None

    @property
    def open(self) -> bool:
        return self.wait is None and (self.max_running is None or self.running < self.max_running)

    def enter(self) -> None:
        """Count one more start."""
        self.running += 1
        self.starts += 1
        self.free_at += self.step

    def move(self, at: int) -> None:
        """Count the starts as of this moment, the one at which the jobs did start."""
        self.now = at
        self.free_at = max(self.free_at - self.starts * self.step, at - CATCH_UP) + self.starts * self.step


@lru_cache(64)
def _texts(sizes: tuple[int, ...], skipped: int) -> tuple[str, str]:
    """To take and to pick from groups of so many queues: the texts do not name the queues."""
    groups = [[""] * size for size in sizes]
    return statements.take(groups, skipped), limits.locked(statements.pick(groups, skipped))


_PICK_ONE = limits.locked(statements.PICK_ONE)


class Claim:
    """One claim of up to `n` jobs, which judges `surplus` candidates more.

    `judges` says that it judges at once, because the last claim met limits: to find that no limit is there costs a
    statement. After the transaction: `again` says whether the next claim may find more at once, `recheck` names limits
    to promote for in a later transaction, `later` those to promote for in so many seconds.
    """

    def __init__(self, params: Mapping[str, Any], n: int, surplus: int = 0, judges: bool = False) -> None:
        self._params = params
        self._n = n
        self._picked = n + surplus
        self._candidates: Rows = []
        #: Whether the first statement of the program claims by itself.
        self._claims_first = not judges
        self._locked: set[str] = set()
        self._taken: list[int] = []
        self._refused: dict[int, str] = {}
        self._rooms: dict[str, Room] = {}
        self.again = False
        self.recheck: set[str] = set()
        self.later: dict[str, float] = {}

    def best(self, order: Sequence[Sequence[str]], skipped: Sequence[str] = ()) -> list[Item]:
        """The best jobs of these groups of queues. The answers go to `rows`."""
        names = {**self._params, **statements.names(skipped), "n": self._n}
        queues = [queue for group in order for queue in group]
        if len(queues) > statements.MANY:
            self._claims_first = False
            return [*self._pick_of_many(order, skipped), *self._judged()]
        named = {f"q{k}": queue for k, queue in enumerate(queues)}
        take, pick_sql = _texts(tuple(len(group) for group in order), len(skipped))
        pick = Query(pick_sql, {**names, **named, "n": self._picked})
        if not self._claims_first:
            return [pick, *self._judged()]
        return [
            Query(take, {**names, **named}),
            Then(lambda taken: None if taken else pick),
            *self._judged(),
        ]

    def one(self, job_id: str) -> list[Item]:
        """One job by its id. The answers go to `rows`."""
        return [
            self.free(job_id),
            Then(lambda taken: None if taken else Query(_PICK_ONE, {"id": job_id})),
            *self._judged(),
        ]

    def free(self, job_id: str) -> Query:
        """One job by its id if it has no limit: one statement, which needs no transaction around it."""
        return Query(statements.CLAIM, self._params, rows=[[job_id]])

    def limited(self, job_id: str) -> list[Item]:
        """One job by its id that `free` did not claim. The answers go to `rows`."""
        self._claims_first = False
        return [Query(_PICK_ONE, {"id": job_id}), *self._judged()]

    @property
    def met_limits(self) -> bool:
        """Whether candidates had limits: then the next claim meets some, too, as a rule."""
        return bool(self._rooms)

    @property
    def refused(self) -> bool:
        """Whether limits kept candidates back."""
        return bool(self._refused)

    def rows(self, results: Sequence[Rows]) -> Rows:
        """The claimed attempts, rows of `statements.ATTEMPT`, from the answers to the program."""
        return [*(results[0] if self._claims_first else []), *results[-4]]

    def _pick_of_many(self, order: Sequence[Sequence[str]], skipped: Sequence[str]) -> list[Item]:
        """Look up the queues that have candidates, then compare those only."""
        level = {queue: place for place, group in enumerate(order) for queue in group}

        def pick(found: Rows) -> Query | None:
            mine = sorted((row[0] for row in found if row[0] in level), key=lambda queue: (level[queue], queue))
            if not mine:
                return None
            groups: dict[int, list[str]] = {}
            for queue in mine:
                groups.setdefault(level[queue], []).append(queue)
            named = {f"q{k}": queue for k, queue in enumerate(mine)}
            sql = limits.locked(statements.pick(list(groups.values()), len(skipped)))
            return Query(sql, {**named, **statements.names(skipped), "n": self._picked})

        return [Query(statements.CANDIDATE_QUEUES), Then(pick)]

    def _judged(self) -> list[Item]:
        return [
            Then(self._state),
            Then(self._start),
            Then(self._use),
            Then(self._refuse),
            Then(self._promote),
        ]

    def _state(self, candidates: Rows) -> Query | None:
        self._candidates = sorted(candidates, key=lambda row: (row[2], row[3], row[0]))
        self._rooms, self._refused, self._taken = {}, {}, []
        self.again, self.recheck, self.later = False, set(), {}
        # The limit of a concurrency key, and that of its task, which may not be there.
        locked = {row[1]: row[5] for row in candidates if row[1]} | {row[4]: row[6] for row in candidates if row[1]}
        self._locked = {name for name, held in locked.items() if held}
        return Query(limits.STATE, rows=[[name] for name in sorted(locked)]) if locked else None

    def _start(self, found: Rows) -> Query | None:
        self._rooms = {row[0]: Room.of(row) for row in found}
        for number, name, *_ in self._candidates:
            if len(self._taken) == self._n:
                self.again = True
                break
            obstacle = self._obstacle(name) if name else None
            if obstacle is not None:
                self._refused[number] = obstacle
                continue
            self._taken.append(number)
            for room in self._above(name):
                room.enter()
        self.again = self.again or bool(self._refused)
        params = self._params
        return Query(statements.CLAIM_PICKED, params, rows=[[n] for n in self._taken]) if self._taken else None

    def _above(self, name: str) -> list[Room]:
        """The limits that a job of this limit must pass: its own, and that of its task."""
        room = self._rooms.get(name)
        if room is None:
            return []
        task = self._rooms.get(room.task) if room.task is not None else None
        return [room] if task is None else [room, task]

    def _obstacle(self, name: str) -> str | None:
        rooms = self._above(name)
        if not rooms:
            return name
        for room in rooms:
            if room.name not in self._locked:
                self.later[room.name] = CONTENDED
                return room.name
            if not room.open:
                if room.wait is None:
                    self.recheck.add(room.name)
                else:
                    self.later[room.name] = room.wait / 1000
                return room.name
        return None

    def _use(self, started: Rows) -> Query | None:
        for row in started[:1]:  # they started in one moment: that of the statement, which is later on PostgreSQL
            for room in self._rooms.values():
                room.move(row[_STARTED_AT])
        used = [[room.name, room.free_at] for room in self._rooms.values() if room.starts and room.step]
        self.later.update((r.name, r.wait / 1000) for r in self._rooms.values() if r.starts and r.wait is not None)
        return Query(limits.USE, rows=used) if used else None

    def _refuse(self, _: Rows) -> Query | None:
        rows = [[number, name] for number, name in self._refused.items()]
        return Query(limits.REFUSE, rows=rows) if rows else None

    def _promote(self, _: Rows) -> Query | None:
        """A limit that let jobs pass and has room left gets more candidates: twice as many as it let pass."""
        left = [room for room in self._rooms.values() if room.starts and room.open]
        if not left:
            return None
        self.again = True  # for those that this makes candidates
        number = min(2 * max(room.starts for room in left), self._n + 1)
        return Query(limits.PROMOTE, {"n": number, "lead": limits.LEAD}, rows=[[room.name] for room in left])
