"""What becomes of the fire times that have come: decided here, from facts, and written by whoever asked; pure."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from tasks.schedule import Overlap, Rule, Spec

#: Fire times of one schedule that one look decides; what lies behind them is for the next look.
MAX_DECISIONS = 500


class Outcome(StrEnum):
    """What was decided about a fire time. One that was missed has no row, only a counter."""

    FIRED = "fired"
    QUEUED = "queued"
    SKIPPED = "skipped"
    REFUSED = "refused"


class Decision(Struct, frozen=True):
    at: int
    outcome: Outcome
    reason: str | None = None


class Plan(Struct, frozen=True):
    """`decisions` in the order of time, how many fire times were missed, and when the schedule fires next."""

    decisions: list[Decision]
    missed: int
    next_at: int | None


class Facts(Struct, frozen=True):
    """How things stand with the jobs of a schedule: whether one has not ended, whether a fire time waits for that."""

    busy: bool
    queued: bool


def plan(spec: Spec, rule: Rule, next_at: int, now: int, facts: Facts) -> Plan:
    """Decide about `next_at` and the fire times after it up to `now`."""
    window = now - round(spec.catch_up * 1000)
    due: list[int] = []
    missed = seen = 0
    following: int | None = next_at
    while following is not None and following <= now and seen < MAX_DECISIONS:
        seen += 1
        if following < window:
            missed += 1
        else:
            due.append(following)
        found = rule.after(following)
        following = None if found is None else found.at
    return Plan(_decided(spec.overlap, due, facts), missed, following)


def overdue(spec: Spec, rule: Rule, next_at: int, now: int) -> Plan:
    """Only give up what is past catching up; the rest is for a process that can fire it."""
    planned = plan(spec, rule, next_at, now - round(spec.catch_up * 1000) - 1, Facts(busy=False, queued=False))
    return Plan([], len(planned.decisions) + planned.missed, planned.next_at)


def _decided(overlap: Overlap, due: list[int], facts: Facts) -> list[Decision]:
    if overlap is Overlap.ALLOW:
        return [Decision(at, Outcome.FIRED) for at in due]
    if overlap is Overlap.CANCEL:
        return _newest(due, facts)
    decisions = []
    busy, queued = facts.busy or facts.queued, facts.queued
    for at in due:
        if not busy:
            decisions.append(Decision(at, Outcome.FIRED))
        elif overlap is Overlap.QUEUE and not queued:
            decisions.append(Decision(at, Outcome.QUEUED, "it waits until the job before it has ended"))
            queued = True
        else:
            decisions.append(Decision(at, Outcome.SKIPPED, "a job of this schedule had not ended"))
        busy = True
    return decisions


def _newest(due: list[int], facts: Facts) -> list[Decision]:
    """Only the last of them matters: those before it would be cancelled at once."""
    decisions = [Decision(at, Outcome.SKIPPED, "a later fire time took its place") for at in due[:-1]]
    if not due:
        return []
    if facts.busy or facts.queued:
        return [*decisions, Decision(due[-1], Outcome.QUEUED, "it waits until the cancelled job has ended")]
    return [*decisions, Decision(due[-1], Outcome.FIRED)]
