"""Carries jobs to threads of this process: N slots claim straight from the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from threading import Thread

from executors.base import Capabilities, Health, Standing
from executors.body import Interruption, ThreadSeat, share_interpreter
from executors.body_loops import AsyncSeat, BodyLoops
from executors.heartbeat import Heartbeat
from executors.inbox import Inbox
from executors.keeper import Claimer, Keeper, Running
from executors.pool import Drill
from executors.reports import Reports
from executors.runner import Runner
from executors.settling import Settling
from executors.strangers import Strangers
from executors.unheard import Unheard
from tasks.command import Command, Outcome
from tasks.context import Context
from tasks.errors import LeaseLost, StoreUnavailable
from tasks.job import Attempt, Job, Mode
from tasks.repeated_warning import RepeatedWarning
from tasks.step import Step, interrupt
from tasks.store.backend import Item, Rows
from tasks.store.claiming import SURPLUS, Claim
from tasks.store.store import JobStore
from tasks.store.writer import to_attempt

log = logging.getLogger("jobgate.threads")

#: Seconds between two checks for jobs that another process accepted, or let start, while slots are free here.
POLL = 0.25
#: Seconds by which a timer may be early on the store's clock, which is read to the millisecond.
GRAIN = 0.001
#: Candidates that one timer of a rate limit asks for: a high rate lets several jobs start at a late moment.
PROMOTED = 8
#: Seconds after which the outcomes of a burst are collected although the rest of it has not been begun.
BURST = 0.001


class ThreadExecutor:
    """Slots before claims: a job is claimed only for a slot that is free to run it.

    It hangs on the store's writer as a Taker: a transaction that accepts jobs claims for the free slots as well. Jobs
    of tasks that are to be skipped are left to others, see `Strangers`.
    """

    broker = ""
    standing = Standing(setting="thread", mode=Mode.THREAD)
    capabilities = Capabilities(stop_running_sync="interrupt", stop_running_async="interrupt", hard_limit="interrupt")

    def __init__(
        self,
        store: JobStore,
        runner: Runner,
        claimer: Claimer,
        slots: int,
        queues: Sequence[Sequence[str]],
        strangers: Strangers | None = None,
    ) -> None:
        self._store = store
        self._runner = runner
        self._claimer = claimer
        self._free = self.slots = slots
        self._asked = 0
        self._order = [list(group) for group in queues]
        self._strangers = Strangers() if strangers is None else strangers
        self._claim: Claim | None = None
        self._refused = self._met_limits = False
        #: Timers by limit: at the moment a rate lets the next job start, its limit is promoted.
        self._promotions: dict[str, asyncio.TimerHandle] = {}
        self._backlog = True
        self._unread = RepeatedWarning(log, "idle slots cannot look for jobs now: %s")
        self._open = False
        self._claiming = True
        self._inbox: Inbox[Running | None] = Inbox()
        self._outbox: deque[Step] = deque()
        self._collecting = False
        self._bodies = BodyLoops("jobgate-async")
        self._hurried = asyncio.Event()
        self._keeper = Keeper(store, claimer, self._give_up, self._bodies.look)
        self.abandoned = 0
        self.heartbeat: Heartbeat | None = None
        self.drill: Drill | None = None

    @property
    def busy(self) -> int:
        return self.slots - self._free

    @property
    def queues(self) -> list[str]:
        return [queue for group in self._order for queue in group]

    @property
    def idle(self) -> int:
        return self._free

    async def obey(self, command: Command) -> Outcome | None:
        return await self.drill.obey(command) if self.drill else Outcome(False, "this pool takes no commands")

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        share_interpreter()
        self._reports = Reports(self._store, self._claimer.owner)
        self._settling = Settling(self._store, self._reports, self._claimer.lease)
        self._unheard = Unheard(self._store, self._claimer, self._is_known)
        for _ in range(self.slots):
            self._add_thread()
        self._keeper.start()
        self._store.writer.takers.append(self)
        self.open()
        if self.heartbeat is not None:
            await self.heartbeat.start()

    def open(self) -> None:
        self._open = True
        self._poller = asyncio.create_task(self._poll(), name="jobgate-thread-poll")
        if self.heartbeat is not None:
            self.heartbeat.draining = False
        self._store.writer.woken()

    def resize(self, slots: int) -> None:
        more = slots - self.slots
        self.slots, self._free = slots, self._free + more
        for _ in range(more):
            self._add_thread()
        self._put([None] * -more)
        self._store.writer.woken()

    def listen(self, queue: str, serve: bool) -> None:
        order = [[name for name in group if name != queue] for group in self._order]
        self.serve([*order[:-1], [*order[-1], queue]] if serve else order)

    def serve(self, queues: Sequence[Sequence[str]]) -> None:
        """Serve these, an earlier group strictly before a later one."""
        self._order = [list(group) for group in queues]
        self._store.writer.woken()

    def drain(self) -> None:
        self._open = False
        if self.heartbeat is not None:
            self.heartbeat.draining = True

    def hurry(self) -> None:
        self._loop.call_soon_threadsafe(self._hurried.set)

    async def _idle_or_hurried(self, grace: float) -> None:
        """Return when nothing runs, after `grace` seconds, or when it is to be given back at once."""
        either = [asyncio.ensure_future(wait) for wait in (self._keeper.idle(), self._hurried.wait())]
        await asyncio.wait(either, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for wait in either:
            wait.cancel()

    async def close(self, grace: float) -> int:
        self.drain()
        await self._poller
        with contextlib.suppress(StoreUnavailable):
            await self._store.run("SELECT 1")  # behind any claim that is under way: what it brings is given back
        await self._idle_or_hurried(grace)
        left = self._keeper.all()
        for running in left:
            self._give_up(running, interrupt(running.attempt))
        await self._unheard.stop()
        await self._settling.close()
        return len(left)

    async def stop(self, grace: float) -> None:
        await self.close(grace)
        await self._keeper.stop()
        await self._reports.flush()
        if self.heartbeat is not None:
            await self.heartbeat.stop()
        self._inbox.put([None] * (self.slots + self.abandoned))
        self._bodies.stop()

    def claim_on(self, claiming: bool) -> None:
        """Begin or cease to claim; what runs goes on. A stand-in does so, see `auto_executor`."""
        self._claiming = claiming
        self._backlog = True
        self._store.writer.nudge()

    def cancel_soon(self, job: Job) -> None:
        self._keeper.cancel(job.id)

    async def health(self) -> Health:
        detail = f"{self.busy} of {self.slots} slots busy, {self.abandoned} threads abandoned"
        if blocked := self._bodies.blocked:
            detail += f", {blocked} event loops blocked by async tasks"
        return Health(ok=self._open, detail=detail)

    def wanted(self, accepting: bool) -> Sequence[Item]:
        if not self._claiming or not self._open or self._free == 0 or not (accepting or self._backlog):
            return ()
        self._asked = self._reserve()
        self._claim = Claim(self._claimer.params, self._asked, SURPLUS if self._refused else 0, self._met_limits)
        return self._claim.best(self._order, self._strangers.skipped)

    def taken(self, answers: Sequence[Rows] | None) -> None:
        claim, self._claim = self._claim, None
        if answers is None or claim is None:
            self._backlog = True
            self._unheard.doubt()
            self._begin_all([], self._asked)
            return
        rows = claim.rows(answers)
        self._refused, self._met_limits = claim.refused, claim.met_limits
        self._backlog = claim.again or len(rows) == self._asked
        self._begin_all(rows, self._asked)
        self._store.writer.promote(dict.fromkeys(claim.recheck, 1))
        for name, seconds in claim.later.items():
            self._promote_later(name, seconds)
        if claim.again and self._free:
            self._store.writer.nudge()

    def _promote_later(self, name: str, seconds: float) -> None:
        """Promotes for a limit at the moment its rate lets the next job start, with this process's next claim."""
        at = self._loop.time() + seconds + GRAIN
        planned = self._promotions.get(name)
        if planned is not None:  # for a moment that another start has used up
            planned.cancel()
        self._promotions[name] = self._loop.call_at(at, self._promote, name)

    def _promote(self, name: str) -> None:
        del self._promotions[name]
        if self._open and self._claiming:
            self._store.writer.promote({name: PROMOTED})

    def _is_known(self, attempt: Attempt) -> bool:
        return self._keeper.runs(attempt.id, attempt.attempt) or self._settling.owes(attempt.id, attempt.attempt)

    def _reserve(self) -> int:
        """Every free slot, for a claim that is about to be made: nobody else may claim for them meanwhile."""
        reserved, self._free = self._free, 0
        return reserved

    def _begin_all(self, rows: Rows, reserved: int) -> None:
        self._free += reserved - len(rows)
        self._put([running for row in rows if (running := self._begin(to_attempt(row))) is not None])

    def _put(self, work: Sequence[Running | None]) -> None:
        """Give the threads their work. Outcomes wait for the inbox to be empty, or for this timer; see `_deliver`."""
        if work:
            self._inbox.put(work)
            self._loop.call_later(BURST, self._collect_burst)

    def _begin(self, attempt: Attempt) -> Running | None:
        """Start an async body, or make the work of a slot's thread."""
        if not self._open or (not self._runner.knows(attempt) and self._strangers.meet(attempt.task)):
            self._free += 1
            self._settling.settle_soon([interrupt(attempt)])
            return None
        context = Context(attempt, self._reports.reporter(attempt))
        if not self._runner.is_async(attempt):
            running = Running(attempt, context)
            self._keeper.begin(running)
            return running
        seat = AsyncSeat(self._bodies, f"job {attempt.id} ({attempt.task})")
        self._keeper.begin(Running(attempt, context, seat.interrupt, seat))
        seat.start(lambda interruption: self._run_async(attempt, context, interruption))
        return None

    async def _run_async(self, attempt: Attempt, context: Context, interruption: Interruption) -> None:
        self._deliver(await self._runner.perform_async(attempt, context, interruption))

    def _add_thread(self) -> None:
        Thread(target=self._work, name="jobgate-slot", daemon=True).start()

    def _work(self) -> None:
        """One slot's thread, until it is told to end or its body was given up."""
        while (running := self._inbox.get()) is not None:
            seat = ThreadSeat()  # one a job: what comes too late for one must not hit the next
            running.interrupt = seat.interrupt
            self._deliver(self._runner.perform(running.attempt, running.context, seat.run))
            if running.abandoned:
                return

    def _deliver(self, step: Step) -> None:
        """From a body's thread: hand the step to the loop, which collects a burst of them at once."""
        self._outbox.append(step)
        # Waking the loop costs as much as a short body: while more of a burst is left, its timer does it.
        if not self._collecting and not self._inbox:
            self._collecting = True
            self._loop.call_soon_threadsafe(self._collect)

    def _collect_burst(self) -> None:
        unfinished = bool(self._inbox)  # asked first: whoever delivers from now on sees as much, or wakes the loop
        self._collect()
        if unfinished:
            self._loop.call_later(BURST, self._collect_burst)

    def _collect(self) -> None:
        self._collecting = False  # before the emptying: what is delivered from now on is collected again
        steps = []
        while self._outbox:
            step = self._outbox.popleft()
            if self._keeper.forget(step.job_id, step.attempt) is not None:
                steps.append(step)
            else:
                self.abandoned -= 1  # the body that was given up has ended after all
        self._free += len(steps)
        self._settling.settle_soon(steps)
        if self._backlog:
            self._store.writer.nudge()

    def _give_up(self, running: Running, step: Step) -> None:
        """Settle without waiting for the body. Its thread is not trusted again: another takes its place."""
        if self._keeper.forget(step.job_id, step.attempt) is None:
            return
        running.abandoned = True
        self.abandoned += 1
        running.interrupt(LeaseLost)
        if not self._runner.is_async(running.attempt):
            self._add_thread()
        self._free += 1
        self._settling.settle_soon([step])

    async def _poll(self) -> None:
        while self._open:
            await asyncio.sleep(POLL)
            if not self._claiming:
                continue
            try:
                await self._see_others()
                skipped = self._strangers.skipped
                for name, seconds in await self._store.next_starts() if self._free else ():
                    self._promote_later(name, seconds)
                self._backlog = self._backlog or await self._store.has_ready(self.queues, skipped=skipped)
            except StoreUnavailable as error:
                self._unread.warn(error)
            except Exception:  # without this loop, jobs whose wake-up was lost would wait for ever
                log.exception("the look for jobs failed; it goes on")
            if self._free and self._backlog:
                self._store.writer.nudge()

    async def _see_others(self) -> None:
        """Which of the tasks that are unknown here others know; they find their jobs themselves."""
        if self._strangers:
            others = [other for other in await self._store.workers() if not other.draining]
            self._strangers.look({task for other in others for task in other.tasks})
