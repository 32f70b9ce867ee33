"""Answers rings in a worker process: claim the job, run its body in the calling thread, settle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from executors import assembly
from executors.adoption import adopted
from executors.body import MainSeat, Partner, PartnerSeat, Seat, ThreadSeat, share_interpreter
from executors.body_loops import AsyncSeat, BodyLoops
from executors.cancel_pipe import cancel_by_pipe
from executors.control import Control
from executors.end_signals import EndSignals, default_in_forks
from executors.handles import LoopClient
from executors.heartbeat import Heartbeat
from executors.keeper import Keeper, Running
from executors.limits import claim_when_open
from executors.loop_thread import LoopThread
from executors.reports import Reports
from executors.runner import Runner
from executors.settings import Settings, place_of
from executors.settling import Settling
from executors.unheard import Unheard
from executors.upkeep import Upkeep
from executors.watch import Watch
from executors.word import Role
from executors.worker_commands import execute
from tasks import handle
from tasks.admission import Admission
from tasks.command import Command, Outcome
from tasks.context import Context
from tasks.errors import JobgateError, LeaseLost, StoreUnavailable
from tasks.job import Attempt, Mode, State, Submission
from tasks.registry import Registry
from tasks.step import Step, interrupt
from tasks.store import rings

log = logging.getLogger("jobgate.carrier")

#: Seconds between two looks at the parent's word: whether the worker shuts down, or has lost a process.
LOOK = 0.1


class Carrier:
    """One per worker process, made after any fork. Its record lives on a loop of its own, which no task can block.

    With a process of its own a body runs in the main thread; in a pool of threads it runs beside the pool's thread.
    """

    def __init__(self, settings: Settings, registry: Registry, role: Role) -> None:
        self._settings = settings
        self._registry = registry
        self._role = role
        self.slots = role.slots
        self.broker = place_of(settings.broker_url)
        if role.own_process:
            MainSeat.listen()
            default_in_forks()
        else:
            share_interpreter()
        self._runner = Runner(registry, settings.result_max_bytes)
        self._loop = LoopThread("jobgate-record")
        self._bodies = BodyLoops("jobgate-async")
        self._mine = threading.local()
        self._ending = False
        #: The jobs of the messages that are being answered: what is claimed for one of them is known here.
        self._claiming: list[str] = []
        self._signals = EndSignals(lambda: bool(self._claiming))
        self._given_up: list[AsyncSeat | PartnerSeat] = []
        self._endings: set[asyncio.Task[None]] = set()
        self._loop.call(self._start())

    @property
    def busy(self) -> int:
        return len(self._keeper)

    @property
    def abandoned(self) -> int:
        """Bodies that could not be ended, were given up, and go on."""
        for seat in [seat for seat in self._given_up if not seat.goes_on]:
            self._given_up.remove(seat)
        return len(self._given_up)

    @property
    def queues(self) -> Sequence[str]:
        return self._role.word.queues

    async def obey(self, command: Command) -> Outcome | None:
        return await execute(command, self._role.obey, self._store, self._role.instance)

    def carry(self, job_id: str) -> Step | None:
        """Run the job of a message; returns how its attempt ended, None if the job is not there to be claimed."""
        while self._ending:  # the process is about to be killed for its last body, which ended after all
            time.sleep(LOOK)
        self._heartbeat.heard += 1
        if self._role.word.drain_at or self._signals.received:
            self._hand_back(job_id)
            return None
        if self._role.own_process:
            self._signals.listen()  # each time: a task may have set handlers of its own
        self._claiming.append(job_id)
        try:
            attempt = self._claim(job_id)
            if attempt is None:
                log.debug("ring for %s: nothing to claim", job_id)
                return None
            self._role.begin(attempt)
            context = Context(attempt, self._reports.reporter(attempt))
            step = self._run_async(attempt, context) if self._runner.is_async(attempt) else self._run(attempt, context)
            self._end(step)
        finally:
            self._role.end()
            self._claiming.remove(job_id)
            if self._signals.received:
                raise SystemExit(1)
        return step

    def _hand_back(self, job_id: str) -> None:
        """The worker shuts down: the relay may dispatch the job to another worker at once."""
        with contextlib.suppress(JobgateError):
            self._loop.call(self._store.run(rings.UNRING, rows=[[job_id]]))

    def _claim(self, job_id: str) -> Attempt | None:
        try:
            # In this thread, not on the loop: every change of threads costs as much as the statement itself.
            return claim_when_open(self._store, job_id, self._params)
        except StoreUnavailable:
            self._loop.loop.call_soon_threadsafe(self._unheard.doubt)
            raise

    def _is_known(self, attempt: Attempt) -> bool:
        return attempt.id in self._claiming or self._settling.owes(attempt.id, attempt.attempt)

    def state_of(self, job_id: str) -> State | None:
        """The state of a job that was not there to be claimed; None if there is no such job, or no store."""
        with contextlib.suppress(JobgateError):
            job = self._loop.call(self._store.get(job_id))
            return None if job is None else job.status
        return None

    def hear(self) -> None:
        """Answer a canary."""
        with contextlib.suppress(JobgateError):
            self._loop.call(self._heartbeat.hear())

    def adopt(self, message_id: str, wish: Submission) -> Step | None:
        """Write a job for a message that has none, and run it; returns how its attempt ended, None if none began.

        Raises InvalidSubmission if the job cannot run.
        """
        job = adopted(self._admission, message_id, wish)
        fresh = self._loop.call(self._store.accept_once(job)) is not None
        return self.carry(job.id) if fresh else None

    def stop(self) -> None:
        """Strike the carrier off and write what is left."""
        self._loop.call(self._stop(), timeout=10)
        self._loop.stop()

    async def _start(self) -> None:
        settings = self._settings
        self._store = await assembly.open_for(settings, Mode.CELERY)
        claimer = assembly.claimer(settings, Mode.CELERY, self._role.name)
        self._params: Mapping[str, Any] = claimer.params
        self._admission = Admission(self._registry, settings.defaults)
        self._reports = Reports(self._store, claimer.owner)
        self._settling = Settling(self._store, self._reports, settings.lease)
        self._keeper = Keeper(self._store, claimer, self._give_up, self._look)
        self._keeper.start()
        self._unheard = Unheard(self._store, claimer, self._is_known)
        watch = Watch(self._store, 0.005)
        grace = settings.cancel_grace
        control = Control(self._store, self._registry, self._admission, watch, None, grace)
        handle.bind(LoopClient(control))
        role = self._role
        self._heartbeat = Heartbeat(self._store, claimer, role.name, role.pool, self, self._registry)
        self._heartbeat.instance = role.instance
        await self._heartbeat.start()
        self._upkeep = Upkeep(self._store, settings.result_expires, settings.job_retention)
        self._watches = [
            asyncio.create_task(self._watch_parent(), name="jobgate-parent-watch"),
            asyncio.create_task(cancel_by_pipe(role.word.cancels, control), name="jobgate-cancel-pipe"),
        ]

    async def _stop(self) -> None:
        for watch in self._watches:
            watch.cancel()
        self._give_back_all()
        await asyncio.gather(*self._endings, return_exceptions=True)
        await self._heartbeat.stop()
        await self._keeper.stop()
        await self._unheard.stop()
        await self._reports.flush()
        await self._store.stop()

    def _run(self, attempt: Attempt, context: Context) -> Step:
        if self._role.pool == "threads":
            return self._run_beside(attempt, context)
        seat: Seat = MainSeat() if self._role.own_process else ThreadSeat()
        self._keeper.begin(Running(attempt, context, seat.interrupt))
        return self._runner.perform(attempt, context, seat.run)

    def _run_beside(self, attempt: Attempt, context: Context) -> Step:
        """In another thread: a body that cannot be ended must not keep a thread of Celery's pool for ever."""
        partner = getattr(self._mine, "partner", None) or Partner()
        self._mine.partner = partner
        seat = PartnerSeat(partner)
        self._keeper.begin(Running(attempt, context, seat.interrupt))
        body = seat.start(lambda: self._runner.perform(attempt, context, seat.run))
        try:
            return body.result()
        except CancelledError:
            log.warning("job %s: its body goes on although it was ended; its thread is given up", attempt.id)
            self._mine.partner = None
            self._given_up.append(seat)
            return interrupt(attempt)

    def _run_async(self, attempt: Attempt, context: Context) -> Step:
        seat = AsyncSeat(self._bodies, f"job {attempt.id} ({attempt.task})")
        self._keeper.begin(Running(attempt, context, seat.interrupt, seat))
        body = seat.start(lambda interruption: self._runner.perform_async(attempt, context, interruption))
        try:
            return body.result()
        except CancelledError:  # it was given up, and this thread need not wait for it any more
            self._given_up.append(seat)
            return interrupt(attempt)

    def _end(self, step: Step) -> None:
        if self._keeper.forget(step.job_id, step.attempt) is None:
            return
        if not self._reports.pending(step.job_id, step.attempt):
            with contextlib.suppress(JobgateError):
                if self._store.settle_outside(step) is not None:
                    return
        self._loop.call(self._settling.settle(step))

    def _give_up(self, running: Running, step: Step) -> None:
        if self._keeper.forget(step.job_id, step.attempt) is None:
            return
        running.abandoned = True
        self._ending = self._role.own_process
        ending = asyncio.get_running_loop().create_task(self._settle_and_end(running, step))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _give_back_all(self) -> None:
        self._settling.hurry()
        for running in self._keeper.all():
            self._give_up(running, interrupt(running.attempt))

    async def _settle_and_end(self, running: Running, step: Step) -> None:
        """Write the outcome, then end the body: with its process where it has one, else by an exception."""
        try:
            # Not for ever: a body that ran past its limit must not live on because the store is away.
            await self._settling.settle(step, self._settings.lease)
            if self._role.own_process:
                await self._heartbeat.stop()
        finally:
            if self._role.own_process:
                os.kill(os.getpid(), signal.SIGKILL)
            running.interrupt(LeaseLost)

    def _look(self) -> None:
        self._role.show_progress()
        self._bodies.look()

    async def _watch_parent(self) -> None:
        seen = 0
        while True:
            await asyncio.sleep(LOOK)
            try:
                self._role.take_in(self._heartbeat.deaf)
                drain_at = self._role.word.drain_at
                self._heartbeat.draining = drain_at > 0
                if self._signals.received or 0 < drain_at <= time.monotonic():
                    self._give_back_all()
                losses = self._role.word.losses
                if losses != seen:
                    with contextlib.suppress(JobgateError):
                        await self._upkeep.reap()
                        seen = losses
            except Exception:  # a process that is blind to its parent would never drain
                log.exception("the parent's word could not be followed; the next look follows")
