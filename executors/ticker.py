"""Fires what has come due. Any number of processes may tick at once: each fire time is decided by one of them.

What to do is decided in `tasks.plan`, and written with the fence and the key of `tasks.store.schedules`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import structs

from tasks.admission import Admission
from tasks.errors import InvalidSchedule, InvalidSubmission
from tasks.job import NewJob
from tasks.plan import Decision, Outcome, overdue, plan
from tasks.schedule import Schedule, Spec, delay, read_spec, rule_of_text, submission
from tasks.store.backend import Refused
from tasks.store.schedule_store import Due, Ended, Fire, Move, Queued, Replaced, ScheduleStore
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.schedules")

_Row = TypeVar("_Row", Queued, Replaced)

#: Seconds between looks, while nothing comes due before; so soon a change made in another process is seen.
LOOK_PAUSE = 1.0
#: The same, while a fire time waits for a job to end, and after a look that left something to do.
QUEUED_PAUSE = 0.2
#: Schedules that one look takes up.
CHUNK = 100
MANY = 5_000
#: Looks between two sweeps of old fire times.
SWEEP_EVERY = 600
REFUSED = "the store refused the job; the log has the reason"


class Ticker:
    """One per process that keeps the record moving. `retention` and `grace` are in seconds."""

    def __init__(
        self, store: JobStore, schedules: ScheduleStore, admission: Admission, retention: float, grace: float
    ) -> None:
        self._store = store
        self._schedules = schedules
        self._admission = admission
        self._retention = round(retention * 1000)
        self._grace = round(grace * 1000)
        self._looks = 0
        self._warned: set[str] = set()

    async def tick(self) -> float:
        """One look at everything; seconds until the next."""
        await self._follow()
        more = await self._fire()
        waiting = await self._unqueue()
        self._looks += 1
        if self._looks % SWEEP_EVERY == 0:
            await self._schedules.forget(self._retention)
        if more:
            return 0.0
        pause = QUEUED_PAUSE if waiting else LOOK_PAUSE
        wait = await self._schedules.next_fire()
        # What is due now and was left is another process's, or its task is not known here.
        return pause if wait is None or wait <= 0 else min(wait + 0.001, pause)

    async def _follow(self) -> None:
        """Note how the jobs ended on which later fire times depend."""
        found = await self._schedules.ended(CHUNK)
        readable = self._readable(found)
        if len(found) == CHUNK and not readable:
            readable = self._readable(await self._schedules.ended(MANY))
        await self._close(readable)

    def _readable(self, found: Sequence[Ended]) -> dict[str, Spec]:
        """By schedule; those of another release are left to it."""
        specs = {}
        for each in found:
            try:
                specs[each.schedule_id] = read_spec(each.spec)
            except InvalidSchedule as error:
                self._warn_once(each.name, str(error))
        return specs

    async def _close(self, ended: dict[str, Spec]) -> None:
        if ended:
            for name, failures in await self._schedules.close(ended):
                log.warning("schedule %s is paused: %d of its fire times in a row have failed", name, failures)

    async def _fire(self) -> bool:
        """Decide what is due; whether there may be more."""
        decided = self._decided(await self._schedules.due(CHUNK))
        if not decided:
            # A chunk of schedules that are for others must not hide those behind it.
            decided = self._decided(await self._schedules.due(MANY))
        if not decided:
            return False
        await self._write(decided)
        refused = {fire.schedule_id for _, fires in decided for fire in fires if fire.outcome == Outcome.REFUSED}
        await self._close({move.schedule.id: read_spec(move.schedule.spec) for move, _ in decided
                           if move.schedule.id in refused})  # fmt: skip  # one mapping
        return True

    def _decided(self, found: Sequence[Due]) -> list[tuple[Move, list[Fire]]]:
        """How those go on that go on, with their fire times."""
        decided = []
        for due in found:
            try:
                move, fires = self._decide(due)
            except InvalidSchedule as error:
                # Written by another release, or for a zone that is no more: the others must not wait for it.
                self._warn_once(due.schedule.name, str(error))
                continue
            if move.next_at != due.schedule.next_at:
                decided.append((move, fires))
        return decided

    async def _write(self, decided: Sequence[tuple[Move, list[Fire]]]) -> None:
        try:
            await self._schedules.move([move for move, _ in decided], [fire for _, fires in decided for fire in fires])
        except Refused:
            if len(decided) > 1:  # the one that the database refuses must not keep the others from firing
                for each in decided:
                    await self._write([each])
                return
            move, fires = decided[0]
            log.exception("schedule %s: its jobs are refused by the store", move.schedule.name)
            lost = [
                structs.replace(fire, outcome=Outcome.REFUSED, job=None, reason=REFUSED) if fire.job else fire
                for fire in fires
            ]
            await self._schedules.move([structs.replace(move, error=REFUSED)], lost)

    def _decide(self, due: Due) -> tuple[Move, list[Fire]]:
        schedule = due.schedule
        assert schedule.next_at is not None, "it is due"
        spec = read_spec(schedule.spec)
        rule = rule_of_text(schedule.spec, schedule.anchor)
        if self._knows(schedule):
            planned = plan(spec, rule, schedule.next_at, due.now, due.facts)
        else:
            planned = overdue(spec, rule, schedule.next_at, due.now)
        fires = [self._fire_of(schedule, decision, due.now) for decision in planned.decisions]
        if planned.missed:
            log.warning("schedule %s: %d fire times were missed", schedule.name, planned.missed)
        skipped = sum(fire.outcome == Outcome.SKIPPED for fire in fires)
        error = next((fire.reason for fire in fires if fire.outcome == Outcome.REFUSED), None)
        move = Move(schedule=schedule, next_at=planned.next_at, missed=planned.missed, skipped=skipped, error=error)
        return move, fires

    def _fire_of(self, schedule: Schedule, decision: Decision, now: int) -> Fire:
        outcome, reason, job = decision.outcome, decision.reason, None
        if outcome is Outcome.FIRED:
            try:
                job = job_of(self._admission, schedule, decision.at)
            except InvalidSubmission as error:
                log.warning("schedule %s cannot fire: %s", schedule.name, error)
                outcome, reason = Outcome.REFUSED, str(error)
        return Fire(
            schedule_id=schedule.id,
            fire_at=decision.at,
            outcome=outcome,
            job=job,
            followed=read_spec(schedule.spec).followed,
            reason=reason,
            late=(now - decision.at) / 1000,
        )

    async def _unqueue(self) -> bool:
        """Make the jobs of those fire times whose turn has come; whether fire times were waiting."""
        if not await self._schedules.any_queued():
            return False
        for queued in await self._known(self._schedules.promotable):
            await self._promote(queued)
        for replaced in await self._known(self._schedules.in_the_way):
            await self._store.cancel(replaced.job_id, self._grace)
        return True

    async def _known(self, read: Callable[[int], Awaitable[Sequence[_Row]]]) -> list[_Row]:
        """Those of the first CHUNK rows whose task this process knows; of MANY, where it knows none of these."""
        found = await read(CHUNK)
        known = [each for each in found if self._knows(each.schedule)]
        if not known and len(found) == CHUNK:
            known = [each for each in await read(MANY) if self._knows(each.schedule)]
        return known

    async def _promote(self, queued: Queued) -> None:
        try:
            await self._schedules.promote(queued, job_of(self._admission, queued.schedule, queued.fire_at))
            return
        except InvalidSubmission as error:
            reason = str(error)
        except Refused:
            log.exception("schedule %s: its queued job is refused by the store", queued.schedule.name)
            reason = REFUSED
        await self._schedules.refuse(queued, reason)
        await self._close({queued.schedule.id: read_spec(queued.schedule.spec)})

    def _knows(self, schedule: Schedule) -> bool:
        """Whether this process can read it and has its task. One that has not leaves the schedule to those that have:
        a new release may be on its way."""
        try:
            task = read_spec(schedule.spec).task
        except InvalidSchedule as error:
            self._warn_once(schedule.name, str(error))
            return False
        if self._admission.knows(task):
            return True
        self._warn_once(schedule.name, f"is due, and its task {task} is not registered here")
        return False

    def _warn_once(self, name: str, words: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            log.warning("schedule %s %s", name, words)


def job_of(admission: Admission, schedule: Schedule, fire_at: int, jitter: bool = True) -> NewJob:
    """The job of a schedule's fire time. Raises InvalidSubmission where task or arguments do not fit."""
    spec = read_spec(schedule.spec)
    due_at = fire_at + (delay(spec, schedule.id, fire_at) if jitter else 0)
    expires_at = None if spec.expires is None else due_at + round(spec.expires * 1000)
    return admission.admit(submission(spec), due_at=due_at, delay=None, expires_at=expires_at)
