"""What can be done to schedules: the verbs behind HTTP and the command line. What fires them is `ticker`."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import msgspec
from msgspec import Struct

from executors.identity import make_owner
from executors.ticker import job_of
from tasks.admission import Admission
from tasks.errors import (
    ConfigurationError,
    InvalidSchedule,
    InvalidSubmission,
    NotConfigured,
    ScheduleExists,
    ScheduleNotFound,
    StateConflict,
)
from tasks.job import NewJob
from tasks.schedule import (
    Occurrence,
    Schedule,
    Spec,
    occurrences,
    read_spec,
    rule_of,
    rule_of_text,
    submission,
    write_spec,
)
from tasks.store.backend import Refused
from tasks.store.schedule_store import Fire, Past, ScheduleStore
from tasks.store.store import JobStore

log = logging.getLogger("jobgate.schedules")

#: Fire times that one backfill may make jobs of.
MAX_BACKFILL = 1000
#: The fields that say when.
_RULE = ("cron", "every", "at", "timezone", "start", "end")
#: Rows that one look at all of them takes.
PAGE = 200
#: Tries of a change that others keep getting in the way of.
TRIES = 5


class Backfill(Struct, frozen=True, kw_only=True):
    """What a backfill did: the fire times of the range, those that were decided before, and the jobs it made."""

    times: Sequence[int]
    existing: int
    jobs: Sequence[str]


class Schedules:
    """Create, read, change and steer schedules."""

    def __init__(self, store: JobStore, admission: Admission) -> None:
        self._store = store
        self._admission = admission
        self._schedules = ScheduleStore(store, make_owner())

    async def read(self, key: str) -> Schedule:
        """By id or by name, or ScheduleNotFound; StateConflict where this release cannot read it."""
        found = await self._schedules.get(key)
        if found is None:
            raise ScheduleNotFound(f"there is no schedule {key[:100]!r}; GET /api/v1/schedules lists those there are")
        try:
            read_spec(found.spec)
        except InvalidSchedule as error:
            raise StateConflict(f"schedule {key[:100]!r} {error}: ask a process of the release that wrote it") from None
        return found

    def readable(self, found: Iterable[Schedule]) -> builtins.list[Schedule]:
        """Those that this release can read; the log names the others."""
        kept = []
        for schedule in found:
            try:
                read_spec(schedule.spec)
                kept.append(schedule)
            except InvalidSchedule as error:
                log.warning("schedule %s is passed over: it %s", schedule.name, error)
        return kept

    async def list(self, limit: int, after: str = "") -> builtins.list[Schedule]:
        """By name, those behind `after`."""
        return await self._schedules.list(limit, after)

    async def create(self, spec: Spec, enabled: bool = True, origin: str = "operator") -> Schedule:
        """Raises InvalidSubmission and its kin, and ScheduleExists."""
        now = await self._store.now()
        spec = self._placed(spec)
        next_at = self._checked(spec, now, now)
        made = await self._schedules.add(
            spec, declared=None, origin=origin, enabled=enabled, anchor=now, next_at=next_at
        )
        if made is None:
            raise ScheduleExists(f"there is a schedule {spec.name!r} already: change that one, or take another name")
        return made

    async def put(self, spec: Spec, enabled: bool) -> None:
        """Make it, or change the one of its name into it. Raises InvalidSubmission and its kin, and ScheduleExists
        where that one is of another task."""
        spec = read_spec(write_spec(spec))  # what code puts together is checked by nobody before
        try:
            await self.create(spec, enabled)
        except ScheduleExists:
            if read_spec((await self.read(spec.name)).spec).task != spec.task:
                raise
            await self.change(spec.name, lambda _: spec)
            await (self.resume if enabled else self.pause)(spec.name)

    async def of_task(self, task: str) -> builtins.list[Schedule]:
        """All that make jobs of this task."""
        found: builtins.list[Schedule] = []
        after = ""
        while page := await self.list(PAGE, after):
            found += [each for each in self.readable(page) if read_spec(each.spec).task == task]
            after = page[-1].name
        return found

    async def forget(self, age: int) -> int:
        """Delete fire times that were decided more than `age` milliseconds ago; how many those were."""
        return await self._schedules.forget(age)

    async def declare(self, specs: Iterable[Spec]) -> None:
        """Lay what code declares beside what the store has. What an operator changed, paused or deleted stays so.

        Raises ConfigurationError for a declaration that could not fire.
        """
        now = await self._store.now()
        for spec in map(self._placed, specs):
            try:
                self._admission.admit(submission(spec))
            except NotConfigured:
                pass  # a deployment may do without: until it has what is missing, each fire time says what that is
            except InvalidSubmission as error:
                raise ConfigurationError(f"schedule {spec.name!r}, declared in code: {error}") from None
            await self._declare(spec, now)

    async def _declare(self, spec: Spec, now: int) -> None:
        text = write_spec(spec)
        found = rule_of(spec, now).after(now)
        next_at = None if found is None else found.at
        old = await self._schedules.declared(spec.name)
        if old is None:
            await self._schedules.add(spec, declared=text, origin="code", enabled=True, anchor=now, next_at=next_at)
        elif old.declared in (text, None) or not self.readable([old]):
            return  # nothing new, or the name is an operator's own, or the row a newer release's
        elif old.spec == old.declared:
            same = _same_rule(spec, read_spec(old.spec))
            await self._schedules.change(old, spec, text, old.anchor if same else now, old.next_at if same else next_at)
        else:
            await self._schedules.change(old, read_spec(old.spec), text, old.anchor, old.next_at)

    async def change(self, key: str, edit: Callable[[Spec], Spec]) -> Schedule:
        """Let `edit` make a new spec of the present one; it fires by its new rule from now on."""
        for _ in range(TRIES):
            old = await self.read(key)
            before = read_spec(old.spec)
            spec = self._placed(edit(before))
            if old.declared is not None and spec.name != old.name:
                raise InvalidSchedule("the schedule is declared in code: its name is changed there", "/name")
            now = await self._store.now()
            anchor = old.anchor if spec.every == before.every else now
            next_at = old.next_at if _same_rule(spec, before) else self._checked(spec, anchor, now)
            self._admission.admit(submission(spec))
            try:
                changed = await self._schedules.change(old, spec, old.declared, anchor, next_at)
            except Refused:
                raise ScheduleExists(f"there is a schedule {spec.name!r} already: take another name") from None
            if changed is not None:
                return changed
        raise StateConflict(f"schedule {key[:100]!r} is being changed by others all the time: try again")

    async def pause(self, key: str) -> Schedule:
        """Stop firing. What its jobs do goes on."""
        paused = await self._schedules.pause((await self.read(key)).id)
        return paused or await self.read(key)

    async def resume(self, key: str) -> Schedule:
        """Fire again from now on: what came due while it was paused is neither caught up with nor missed."""
        for _ in range(TRIES):
            old = await self.read(key)
            if old.enabled:
                return old
            found = rule_of_text(old.spec, old.anchor).after(await self._store.now())
            resumed = await self._schedules.resume(old, None if found is None else found.at)
            if resumed is not None:
                return resumed
        raise StateConflict(f"schedule {key[:100]!r} is being changed by others all the time: try again")

    async def delete(self, key: str) -> Schedule:
        """Take it away; the jobs it made stay."""
        found = await self.read(key)
        await self._schedules.delete(found.id)
        return found

    async def run(self, key: str) -> str:
        """Make a job of it now, whatever its rule and its overlap policy say; the job's id."""
        schedule = await self.read(key)
        now = await self._store.now()
        for fire_at in range(now, now + TRIES):
            job = job_of(self._admission, schedule, fire_at, jitter=False)
            made = await self._schedules.fire(schedule.id, [_fire(schedule, fire_at, job, "hand")])
            if made:
                return made[0]
            await self.read(key)  # it may have been deleted meanwhile
        raise StateConflict(f"schedule {key[:100]!r} fires at every millisecond around now: try again")

    async def preview(self, key: str, count: int, after: int | None = None) -> builtins.list[Occurrence]:
        """The next fire times, or those after a moment; also of a schedule that is paused."""
        schedule = await self.read(key)
        start = await self._store.now() if after is None else after
        return list(islice(occurrences(rule_of_text(schedule.spec, schedule.anchor), start), count))

    async def backfill(self, key: str, start: int, end: int, dry_run: bool = False) -> Backfill:
        """Make the jobs of fire times from `start` to `end`, both included, that nobody has decided yet."""
        schedule = await self.read(key)
        if end > await self._store.now():
            raise InvalidSchedule("takes a moment that has passed: what is to come fires by itself", "/end")
        rule = rule_of_text(schedule.spec, schedule.anchor)
        times = [found.at for found in islice(occurrences(rule, start - 1, end), MAX_BACKFILL + 1)]
        if len(times) > MAX_BACKFILL:
            raise InvalidSchedule(f"the range has more than {MAX_BACKFILL} fire times: take a shorter one", "/end")
        decided = await self._schedules.decided(schedule.id, start, end)
        fires = [_fire(schedule, at, self._late_job(schedule), "backfill") for at in times if at not in decided]
        made = [] if dry_run or not fires else await self._schedules.fire(schedule.id, fires)
        return Backfill(times=[fire.fire_at for fire in fires], existing=len(times) - len(fires), jobs=made)

    async def history(self, key: str, limit: int) -> builtins.list[Past]:
        """What was decided about its fire times, the latest first."""
        return await self._schedules.history((await self.read(key)).id, limit)

    def trouble(self, schedule: Schedule) -> str | None:
        """Why it cannot fire as it stands, or how its last fire time was refused."""
        task = read_spec(schedule.spec).task
        if not self._admission.knows(task):
            return f"no task {task!r} is registered in this process: is its module in TASK_MODULES?"
        return schedule.error

    def _late_job(self, schedule: Schedule) -> NewJob:
        """Due now, not in the past: what is made up for must not go before everybody who waits."""
        spec = read_spec(schedule.spec)
        expires_in = None if spec.expires is None else round(spec.expires * 1000)
        return self._admission.admit(submission(spec), expires_in=expires_in)

    def _placed(self, spec: Spec) -> Spec:
        """With its time zone written out: a later change of the deployment's default moves nothing."""
        return msgspec.structs.replace(spec, timezone=spec.timezone or self._admission.timezone)

    def _checked(self, spec: Spec, anchor: int, now: int) -> int:
        """When it fires first. Raises InvalidSubmission for whatever would keep it from firing."""
        rule = rule_of(spec, anchor)
        self._admission.admit(submission(spec))
        found = rule.after(now)
        if found is None:
            words = "lies in the past" if spec.at is not None else "leaves no fire time from now on"
            raise InvalidSchedule(f"{words}: it would never fire", "/at" if spec.at is not None else "/end")
        return found.at


def _same_rule(one: Spec, other: Spec) -> bool:
    return all(
        getattr(one, name) == getattr(other, name) for name in ("cron", "every", "at", "timezone", "start", "end")
    )


def _fire(schedule: Schedule, fire_at: int, job: NewJob, cause: str) -> Fire:
    followed = read_spec(schedule.spec).followed
    return Fire(schedule_id=schedule.id, fire_at=fire_at, outcome="fired", cause=cause, job=job, followed=followed)
