"""The outcomes of runs, one beside the other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.options import Options
from tests.chaos.record import Verdict


class Outcome(NamedTuple):
    """What became of a run. `quiet_after`: seconds from the last fault until nothing was open any more.

    `broken` are faults that could not be made, `wrong` answers that nobody should be given.
    """

    options: Options
    verdict: Verdict
    faults: Counter[str]
    seconds: float
    quiet_after: float
    broken: list[str]
    wrong: list[str]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**self._asdict(), "options": self.options._asdict(), "verdict": self.verdict._asdict()}


def load(path: Path) -> list[Outcome]:
    """What `keep` wrote."""
    found = (json.loads(line) for line in path.read_text().splitlines())
    return [
        Outcome(**{
            **given,
            "options": Options(**given["options"]),
            "verdict": Verdict(**given["verdict"]),
            "faults": Counter(given["faults"]),
        })
        for given in found
    ]  # fmt: skip


def keep(path: Path, outcome: Outcome) -> None:
    with path.open("a") as file:
        file.write(json.dumps(outcome.plain()) + "\n")


def show(outcome: Outcome) -> Iterator[str]:
    """The lines of one run."""
    asked, verdict = outcome.options, outcome.verdict
    number, kinds = sum(outcome.faults.values()), len(outcome.faults)
    yield f"\n{asked.name} · SEED={asked.seed} JOBS={asked.jobs} FAULTS={asked.faults}"
    yield f"  {number} faults of {kinds} kinds in {outcome.seconds:.0f} s"
    yield f"  all quiet {outcome.quiet_after:.1f} s after the last"
    for name, value in verdict.figures.items():
        yield f"  {value:7,}  {name}"
    for name, found in verdict.faults.items():
        yield f"  {len(found):7,}  {name}{': ' + '; '.join(found[:5]) if found else ''}"
    yield "  " + ", ".join(f"{kind} {n}" for kind, n in sorted(outcome.faults.items()))
    yield from (f"  ! {words}" for words in (*outcome.broken, *outcome.wrong[:5]))


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """All runs side by side, as Markdown."""
    heads = [outcome.options.name for outcome in outcomes]
    yield "| | " + " | ".join(heads) + " |"
    yield "| --- |" + " ---: |" * len(heads)
    yield _row("faults", [f"{sum(o.faults.values())} of {len(o.faults)} kinds" for o in outcomes])
    yield _row("quiet after the last, s", [f"{o.quiet_after:.1f}" for o in outcomes])
    for part in ("figures", "faults"):
        names = dict.fromkeys(name for outcome in outcomes for name in getattr(outcome.verdict, part))
        for name in names:
            yield _row(name, [_cell(getattr(outcome.verdict, part).get(name)) for outcome in outcomes])


def totals(outcomes: Sequence[Outcome]) -> str:
    ours = [outcome for outcome in outcomes if outcome.options.mode != "plain"]
    accepted = sum(outcome.verdict.figures["accepted"] for outcome in ours)
    faults = sum((outcome.faults for outcome in ours), Counter[str]())
    return f"{accepted:,} jobs accepted, {faults.total()} faults of {len(faults)} kinds"


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _cell(value: int | list[str] | None) -> str:
    """Nothing where a system has no such notion."""
    return "" if value is None else f"{value if isinstance(value, int) else len(value):,}"
