"""The figures of a run: gathered a round at a time, shown as medians beside their targets."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from bench.place import Spent

#: Requests a second that the bare endpoint managed on the machine that the absolute targets come from.
REFERENCE = 12_650
LIMIT = ("bare Starlette, requests/s", "limit")


class Target(NamedTuple):
    """What a figure shall be. `where` is the start of the places that it is meant for."""

    figure: str
    where: str
    sense: str
    bound: float

    def met(self, value: float) -> bool:
        return value >= self.bound if self.sense == "≥" else value <= self.bound

    def here(self, speed: float) -> Target:
        """The same for a machine of `speed` times the reference's: only speeds and durations change."""
        factor = speed if "/s" in self.figure else 1 / speed if self.figure.endswith(", ms") else 1.0
        return self._replace(bound=self.bound * factor)


#: The figures of the issue that this product was built to.
TARGETS = (
    Target("submit / bare Starlette", "thread · sqlite", "≥", 0.35),
    Target("submit / bare Starlette", "thread · postgresql", "≥", 0.30),
    Target("submit / bare Starlette", "celery", "≥", 0.25),
    Target("submit p99, ms", "thread", "≤", 20),
    Target("batches of 100 settled, jobs/s", "thread · sqlite", "≥", 25_000),
    Target("batches of 100 settled, jobs/s", "thread, 128 slots · sqlite", "≥", 25_000),
    Target("batches of 100 settled, jobs/s", "thread · postgresql", "≥", 12_000),
    Target("batches of 100 settled, jobs/s", "thread, 128 slots · postgresql", "≥", 12_000),
    Target("batches of 100 accepted, jobs/s", "celery", "≥", 15_000),
    Target("end to end / plain Celery", "celery", "≥", 1.0),
    Target("idle p50, ms", "thread", "≤", 3),
    Target("idle p99, ms", "thread", "≤", 8),
    Target("idle p50, ms", "celery", "≤", 7),
    Target("idle p99, ms", "celery", "≤", 15),
    Target("/metrics, all series new, ms", "", "≤", 20),
    Target("memory idle, MiB", "thread", "≤", 80),
    Target("memory idle, MiB", "celery", "≤", 80),
    Target("memory after 100,000 jobs, MiB", "", "≤", 120),
    Target("submit, 500,000 waiting / empty", "", "≤", 1.3),
    Target("claim, 500,000 waiting / empty", "", "≤", 1.3),
)


class Row(NamedTuple):
    """One line of the table."""

    figure: str
    where: str
    value: float
    rounds: list[float]
    target: Target | None
    #: The target at the speed of this machine, told by the bare endpoint of the same run.
    here: Target | None
    gateway: float | None
    others: float | None
    #: The gateway's processor time a job, as a multiple of the bare endpoint's a request: what foreign load
    #: disturbs least.
    relative: float | None

    @property
    def goal(self) -> str:
        return "" if self.target is None else f"{self.target.sense} {self.target.bound:,g}"

    @property
    def verdict(self) -> str:
        if self.target is None or self.target.met(self.value):
            return "" if self.target is None else "met"
        if self.here is None or self.here == self.target:
            return "NOT MET"
        return f"{'met here' if self.here.met(self.value) else 'NOT MET'}: {self.here.sense} {shown(self.here.bound)}"


class Sheet:
    """Values by figure and place."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = {}
        self._spent: dict[tuple[str, str], list[Spent]] = {}

    def add(self, figure: str, where: str, value: float, spent: Spent | None = None) -> None:
        """One round's value, and the processor time of each job."""
        self._values.setdefault((figure, where), []).append(value)
        if spent is not None:
            self._spent.setdefault((figure, where), []).append(spent)

    def rows(self) -> Iterator[Row]:
        bare = [each.gateway for (_, where), spent in self._spent.items() if where == "limit" for each in spent]
        limit = median(bare) if bare else None
        speed = median(self._values[LIMIT]) / REFERENCE if LIMIT in self._values else None
        for (figure, where), values in self._values.items():
            spent = self._spent.get((figure, where), [])
            target = next((t for t in TARGETS if t.figure == figure and where.startswith(t.where)), None)
            gateway = median(each.gateway for each in spent) if spent else None
            others = median(each.others for each in spent) if spent else None
            relative = gateway / limit if gateway is not None and limit else None
            here = target.here(speed) if target is not None and speed is not None else None
            yield Row(figure, where, median(values), values, target, here, gateway, others, relative)

    def table(self) -> str:
        head = ("figure", "where", "median", "target", "", "gateway µs/job", "others µs/job", "x limit µs", "rounds")
        lines = [head, *(_cells(row) for row in self.rows())]
        widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if n < 2 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )

    def plain(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [
            {**row._asdict(), "target": row.goal, "here": row.here and row.here.bound, "verdict": row.verdict}
            for row in self.rows()
        ]


def _cells(row: Row) -> tuple[str, ...]:
    spent = ["" if each is None else f"{each:,.0f}" for each in (row.gateway, row.others)]
    spent.append("" if row.relative is None else f"{row.relative:.2f}")
    return row.figure, row.where, shown(row.value), row.goal, row.verdict, *spent, " ".join(map(shown, row.rounds))


def shown(value: float) -> str:
    """Three or four figures are all that such a measurement has."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
