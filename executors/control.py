"""What can be done to jobs: the verbs behind HTTP, Python callers and the command line, the same in every mode."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from msgspec import Struct

from executors.base import Capabilities, Executor, Health, Standing
from executors.bulk import Bulks
from executors.crew import Crew
from executors.examination import Doctor
from executors.finding import Diagnosis
from executors.limits import Limits
from executors.queues import Queues
from executors.reason import Explanation
from executors.schedules import Schedules
from executors.watch import Watch
from executors.why import explain
from tasks.admission import Admission
from tasks.errors import IdempotencyMismatch, InvalidSubmission, JobNotFound, StateConflict, Unsupported
from tasks.job import Event, Filter, Job, LogLine, Mode, NewJob, State, Submission
from tasks.limits import key_of
from tasks.registry import Registry
from tasks.store.situation import Order, situation_of
from tasks.store.store import CANCEL_GRACE, JobStore
from tasks.worker import Worker


class Cancellation(Struct, frozen=True, kw_only=True):
    """What a cancel did: "revoked" (it will never start) or "asked" (it runs and was told to stop)."""

    job: Job
    action: str


class Control:
    """Submit, read, wait for and steer jobs. A running job has `grace` seconds to stop when it is cancelled."""

    def __init__(
        self,
        store: JobStore,
        registry: Registry,
        admission: Admission,
        watch: Watch,
        executor: Executor | None,
        grace: float = CANCEL_GRACE / 1000,
    ) -> None:
        self.store = store
        self.registry = registry
        self._admission = admission
        self._watch = watch
        self._executor = executor
        #: Milliseconds that a running job has to stop.
        self.grace = round(grace * 1000)
        self.schedules = Schedules(store, admission)
        #: In which order the queues are served, as far as this process was told.
        self.order: Order = ()
        self.steering = Queues(store, admission.queues)
        self.bulks = Bulks(self)
        self.crew = Crew(store)
        self.limits = Limits(store, registry)
        #: Who examines the deployment, where somebody can.
        self.doctor: Doctor | None = None

    @property
    def mode(self) -> Mode:
        """Which carrier is in use."""
        return self.store.mode

    @property
    def queues(self) -> Collection[str]:
        """The queues that a submission may name."""
        return self._admission.queues

    @property
    def capabilities(self) -> Capabilities:
        """What this process's carrier can do. Unsupported where there is none."""
        return self._carrier.capabilities

    @property
    def standing(self) -> Standing:
        """Which carrier this process uses. Unsupported where there is none."""
        return self._carrier.standing

    @property
    def executor(self) -> Executor | None:
        """The carrier of this process, if it has one: the metrics look at it."""
        return self._executor

    @property
    def _carrier(self) -> Executor:
        if self._executor is None:
            raise Unsupported("this process only submits jobs: ask the gateway")
        return self._executor

    def drain(self) -> None:
        """The process was asked to end: its carrier begins nothing more. A signal's handler may call it."""
        if self._executor is not None:
            self._executor.drain()

    def hurry(self) -> None:
        """After `drain`: do not wait for what runs. A signal's handler may call it."""
        if self._executor is not None:
            self._executor.hurry()

    @property
    def busy(self) -> int:
        """Jobs that run in this process."""
        return 0 if self._executor is None else self._executor.busy

    async def health(self) -> Health:
        """Whether the carrier can carry now."""
        return await self._executor.health() if self._executor else Health(ok=True, detail="none in this process")

    async def submit(self, wish: Submission) -> Job:
        """Accept one job; returns after the commit that holds its row. Raises InvalidSubmission and its kin."""
        new = self._admission.admit(wish)
        return _pending(new, self.mode, await self.store.accept(new))

    async def submit_once(self, wish: Submission, key: str, fingerprint: str) -> tuple[Job, bool]:
        """Accept one job under an idempotency key: (job, True), or (the first job under that key, False).

        Raises IdempotencyMismatch when the key came with another `fingerprint` before.
        """
        new = self._admission.admit(wish, idempotency_key=key, fingerprint=fingerprint)
        accepted_at = await self.store.accept_once(new)
        if accepted_at is not None:
            return _pending(new, self.mode, accepted_at), True
        earlier = await self.store.find_by_key(key)
        if earlier is None:
            raise StateConflict("the first request with this Idempotency-Key was cleaned up just now: send it again")
        job, first_fingerprint = earlier
        if first_fingerprint != fingerprint:
            raise IdempotencyMismatch(f"this Idempotency-Key belongs to job {job.id}, which had another body", "")
        return job, False

    async def submit_many(self, wishes: Sequence[Submission]) -> Sequence[NewJob]:
        """Accept all of them in one transaction, or none. Pointers in errors start with the index: `/17/kwargs`."""
        rows = [self._admit_nth(n, wish) for n, wish in enumerate(wishes)]
        await self.store.accept_many(rows)
        return rows

    async def read(self, job_id: str) -> Job:
        """The job, or JobNotFound."""
        job = await self.store.get(job_id)
        if job is None:
            raise JobNotFound(f"there is no job {job_id}")
        return job

    async def why(self, job_id: str) -> Explanation:
        """Why the job does not run or has not ended; from the record, without asking anybody. Or JobNotFound."""
        found = await situation_of(self.store, job_id, self.order)
        if found is None:
            raise JobNotFound(f"there is no job {job_id}")
        return explain(found, await self.health())

    async def diagnose(self) -> Diagnosis:
        """What disagrees in this deployment. Unsupported where the process does not know its settings."""
        if self.doctor is None:
            raise Unsupported("this process has no doctor: ask the gateway")
        return await self.doctor.diagnose()

    async def list(self, wanted: Filter, limit: int, before: str | None = None, full: bool = False) -> Sequence[Job]:
        """Jobs newest first, those with an id below `before`, at most `limit`; long values only if `full`."""
        return await self.store.list(wanted, limit, before, full)

    async def attempts(self, job_id: str) -> Sequence[Event]:
        """The events in which an attempt ended, oldest first."""
        await self.read(job_id)
        return [
            event for event in await self.store.events(job_id) if event.started_at and event.status != State.STARTED
        ]

    async def events(self, job_id: str, after: int = 0) -> Sequence[Event]:
        return await self.store.events(job_id, after)

    async def logs(self, job_id: str, after: int = 0, limit: int = 1000) -> Sequence[LogLine]:
        return await self.store.logs(job_id, after, limit)

    async def wait(self, job_id: str, timeout: float) -> Job:
        """The job once it is final, or as it stands after `timeout` seconds."""
        await self._watch.wait(job_id, timeout)
        return await self.read(job_id)

    async def cancel(self, job_id: str) -> Cancellation:
        """Stop a job. Waiting: it will never start. Running: it is told to stop. Ended: StateConflict."""
        job = await self.store.cancel(job_id, self.grace)
        if job is None:
            ended = await self.read(job_id)
            raise StateConflict(f"job {job_id} has already ended in {ended.status}; nothing to cancel")
        self.stop_running([job])
        return Cancellation(job=job, action="revoked" if job.is_final else "asked")

    def stop_running(self, jobs: Sequence[Job]) -> None:
        """Tells the executor of this process which cancelled jobs still run."""
        for job in jobs:
            if job.status is State.STARTED and self._executor is not None:
                self._executor.cancel_soon(job)

    async def hold(self, job_id: str) -> Job:
        """Keep a waiting job from starting until it is released."""
        return await self._set_held(job_id, held=True)

    async def release(self, job_id: str) -> Job:
        """Let a held job start when it is due."""
        return await self._set_held(job_id, held=False)

    async def retry(self, job_id: str, new_id: str | None = None) -> Job:
        """A new job like the ended one, with `retry_of` naming it. StateConflict while the old one is open.

        With `new_id` it is made once, however often that is asked for: StateConflict from the second time on.
        """
        old = await self.read(job_id)
        if not old.is_final:
            raise StateConflict(f"job {job_id} is {old.status}: only an ended job can be retried; cancel it first")
        args, kwargs = json.loads(old.arguments)
        wish = Submission(
            task=old.task,
            args=args,
            kwargs=kwargs,
            queue=old.queue,
            priority=old.priority,
            max_retries=old.max_retries,
            soft_time_limit=old.soft_time_limit,
            time_limit=old.time_limit,
            tags=json.loads(old.tags or "[]"),
            concurrency_key=key_of(old.limit_name, old.task),
        )
        new = self._admission.admit(wish, retry_of=old.id, id=new_id)
        accepted_at = await (self.store.accept_once(new) if new_id else self.store.accept(new))
        if accepted_at is None:
            raise StateConflict(f"job {job_id} was retried already, as {new_id}")
        return _pending(new, self.mode, accepted_at)

    async def workers(self) -> Sequence[Worker]:
        """The carriers that showed life lately, from the registry in the store."""
        return await self.store.workers()

    async def _set_held(self, job_id: str, held: bool) -> Job:
        job = await self.store.set_held(job_id, held)
        if job is None:
            found = await self.read(job_id)
            raise StateConflict(f"job {job_id} is {found.status}: only a waiting job can be held or released")
        return job

    def _admit_nth(self, n: int, wish: Submission) -> NewJob:
        try:
            return self._admission.admit(wish)
        except InvalidSubmission as error:
            error.pointer = f"/{n}{error.pointer}"
            raise


def _pending(new: NewJob, mode: Mode, accepted_at: int) -> Job:
    earliest = accepted_at + (new.delay or 0)
    due_at = earliest if new.due_at is None else max(new.due_at, earliest)
    expires_at = new.expires_at if new.expires_in is None else accepted_at + new.expires_in
    return Job(
        id=new.id,
        task=new.task,
        queue=new.queue,
        priority=new.priority,
        status=State.PENDING,
        mode=mode,
        arguments=new.arguments,
        attempt=0,
        failures=0,
        losses=0,
        max_retries=new.max_retries,
        max_losses=new.max_losses,
        soft_time_limit=new.soft_time_limit,
        time_limit=new.time_limit,
        held=new.held,
        limit_name=new.limit_name,
        created_at=accepted_at,
        due_at=due_at,
        expires_at=expires_at,
        tags=new.tags,
        retry_of=new.retry_of,
    )
