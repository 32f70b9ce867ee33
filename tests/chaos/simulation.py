"""The product's own code in a world made of chance: one seed is one story, told the same every time.

Real are the store's writer and its SQL, thread executor, relay, runner, keeper, settling, reports, upkeep, heartbeat
and control. Made are the clock, the broker, the processes, and what goes wrong between them and the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, create_engine, literal_column, select
from sqlalchemy.engine import make_url

from executors.auto_executor import AutoExecutor
from executors.base import Patience
from executors.body_loops import AsyncSeat, BodyLoops
from executors.celery_doorbell import CANARY, Ring, canary_queue
from executors.celery_executor import CeleryExecutor
from executors.control import Control
from executors.heartbeat import Heartbeat
from executors.keeper import Claimer, Keeper, Running
from executors.reports import Reports
from executors.runner import Runner
from executors.settling import Settling
from executors.strangers import Strangers
from executors.thread_executor import ThreadExecutor
from executors.upkeep import Upkeep
from executors.watch import Watch
from tasks import Context, Retry, task
from tasks.admission import Admission, Defaults
from tasks.errors import JobgateError, LeaseLost, StoreUnavailable
from tasks.job import FINAL, Mode, State, Submission
from tasks.registry import Registry
from tasks.step import Step, interrupt
from tasks.store.backend import Query, Rows
from tasks.store.schema import events, jobs
from tasks.store.sqlite import SqliteBackend
from tasks.store.store import JobStore
from tests.chaos.virtual import Process, VirtualLoop

#: Seconds.
LEASE = 3.0
GRACE = 1.0
#: How long faults go on, and how long a job may stay open afterwards.
STORM = 15.0
QUIET = 40.0
JOBS = 40
SLOTS = 3
#: Milliseconds since the epoch at which every story begins.
BEGINNING = 1_900_000_000_000

QUEUES = [["celery"]]


class Line(NamedTuple):
    """What a body said of itself."""

    word: str
    key: str
    attempt: int
    at: float


class World:
    """Everything that processes share."""

    def __init__(self, path: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        assert isinstance(self.loop, VirtualLoop)
        self.backend = open_backend(path, self.loop)
        self.engine = create_engine(f"sqlite:///{path}")
        self.ledger: list[Line] = []
        self.broker = Broker(self)
        self.nodes: list[Node] = []
        self.accepted: dict[str, str] = {}
        self.twice: list[str] = []
        self.revoked: dict[str, float] = {}
        #: From when on nothing goes wrong by itself any more.
        self.calm = False
        #: What was done to whom, and when it was over: (owner, end).
        self.harm: list[tuple[str, float]] = []
        self.story: list[str] = []
        self.broken: list[str] = []

    @property
    def now(self) -> float:
        return self.loop.time()

    def tell(self, words: str) -> None:
        self.story.append(f"{self.now:8.3f} {words}")

    def happens(self, share: float) -> bool:
        return not self.calm and self.chance.random() < share


def open_backend(path: str, loop: VirtualLoop) -> SqliteBackend:
    backend = SqliteBackend(make_url(f"sqlite:///{path}"), "OFF", "sim_now()")
    backend._open()
    for connection in (backend._connection, backend._reader):
        driver: Any = connection.driver_connection  # type: ignore[union-attr]
        driver.create_function("sim_now", 0, lambda: BEGINNING + round(loop.time() * 1000))
    return backend


class Wire:
    """A process's way to the store: slow, sometimes cut, and then nobody knows whether the COMMIT was heard."""

    def __init__(self, world: World, owner: str) -> None:
        self._world = world
        self._owner = owner
        self.engine = world.backend.engine
        self.cut = False

    async def transact(self, program: Sequence[Query]) -> list[Rows]:
        world = self._world
        await asyncio.sleep(world.chance.expovariate(1000))
        if self.cut or world.happens(0.004):
            raise self._away("before")
        answer = world.backend._transact(program)
        await asyncio.sleep(world.chance.expovariate(1000))
        if self.cut or world.happens(0.004):
            raise self._away("after")
        return answer

    async def fetch(self, query: Query) -> Rows:
        if self.cut:
            raise self._away("reading")
        return await self._world.backend.fetch(query)

    def _away(self, when: str) -> StoreUnavailable:
        self._world.harm.append((self._owner, self._world.now))
        return StoreUnavailable(f"the wire was cut {when} the commit")


class Store(JobStore):
    """A store whose slow reads are made at once, on the virtual clock."""

    def __init__(self, world: World, owner: str, mode: Mode) -> None:
        self.wire = Wire(world, owner)
        super().__init__(self.wire, mode)  # type: ignore[arg-type]  # the seam
        self._world = world
        self._now = literal_column(str(BEGINNING), BigInteger)

    async def _fetch(self, query: Any) -> Any:
        if self.wire.cut:
            raise StoreUnavailable("the wire is cut")
        with self._world.engine.connect() as connection:
            return connection.execute(query).fetchall()


class Broker:
    """Loses, doubles, delays and mixes up messages; is away for a while; forgets everything."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.away = False
        self.epoch = 0
        self.published = 0
        self.waiting: list[str] = []
        self._arrived = asyncio.Event()

    def publish(self, ring: Ring) -> None:
        world = self._world
        if ring.task == CANARY:
            self._wake_canary(ring.queue)
            return
        self.published += 1
        if world.happens(0.05):
            return
        for _ in range(3 if world.happens(0.05) else 1):
            late = world.chance.uniform(0, 5) if world.happens(0.05) else world.chance.expovariate(200)
            world.loop.call_later(late, self._arrive, ring.job_id)

    def flush(self) -> None:
        self.epoch += 1
        self.waiting.clear()

    def _wake_canary(self, queue: str) -> None:
        for node in self._world.nodes:
            if canary_queue(node.owner) == queue and hasattr(node, "heartbeat"):
                node.spawn(node.answer_canary())

    async def take(self) -> str:
        while not self.waiting or self.away:
            self._arrived.clear()
            await self._arrived.wait()
        return self.waiting.pop(0)

    def wake(self) -> None:
        self._arrived.set()

    def _arrive(self, job_id: str) -> None:
        if not self.away:
            self.waiting.insert(self._world.chance.randrange(len(self.waiting) + 1), job_id)
            self._arrived.set()


class SimulatedDoorbell:
    """Has the face of the doorbell, and no thread."""

    world: World
    away_since = None

    def __init__(self, broker_url: str, lost: Any) -> None:
        self._lost = lost
        self._epoch = self.world.broker.epoch
        self.error: str | None = "not tried yet"
        self._asked_at: float | None = None
        self.doubtful: Sequence[str] = ()
        self.emptied: frozenset[str] = frozenset()

    def start(self) -> None:
        self.ring([])

    def ring(self, rings: Sequence[Ring]) -> None:
        self.world.loop.call_later(0.002, self._publish, rings)

    def stop(self) -> None:
        pass

    def silence(self, now: float) -> float:
        return 0.0 if self._asked_at is None else now - self._asked_at

    def _publish(self, rings: Sequence[Ring]) -> None:
        broker = self.world.broker
        if broker.away:
            self.error = "away"
            self._asked_at = self.world.now if self._asked_at is None else self._asked_at
            if rings:
                self._lost()
            return
        self.error = self._asked_at = None
        if self._epoch != broker.epoch:
            self._epoch = broker.epoch
            self._lost()
        self.emptied = frozenset(() if broker.waiting else self.doubtful)
        for ring in rings:
            broker.publish(ring)


class Node:
    """A process of the deployment: a gateway that runs jobs, a gateway that rings for them, or a worker."""

    broker = "simulated"
    abandoned = 0
    queues = ("celery",)
    slots = SLOTS

    def __init__(self, world: World, kind: str, number: int) -> None:
        self.world = world
        self.kind = kind
        self.owner = f"{kind}/{number}"
        self.process = Process(self.owner)
        self.control: Control | None = None
        self._taken = 0

    def start(self) -> None:
        self.spawn(
            {"thread": self._thread, "relay": self._relay, "auto": self._auto, "worker": self._work}[self.kind]()
        )

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.world.loop.create_task(work, context=self.process.context)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """What is not the product's own word is a fault of this world, or of a product that has changed under it."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, JobgateError):
            self.world.broken.append(f"{self.owner} stumbled: {type(error).__name__}: {error}")

    def _open(self, mode: Mode) -> None:
        self.store = Store(self.world, self.owner, mode)
        self.store.writer.start()
        self.claimer = Claimer(owner=self.owner, mode=mode, lease=LEASE, grace=GRACE)

    async def _serve(self, executor: Any, mode: Mode) -> None:
        admission = Admission(REGISTRY, Defaults())
        self.control = Control(self.store, REGISTRY, admission, Watch(self.store, 0.05), executor, GRACE)
        await self._until(executor.start)
        self._keep_up()

    def _keep_up(self) -> None:
        upkeep = Upkeep(self.store, 3600, 86_400)
        self.duties = [asyncio.ensure_future(upkeep._beat(duty)) for duty in (upkeep.stage, upkeep.reap)]

    async def _until(self, begin: Any) -> None:
        """A process that cannot start is started again by whoever watches over it."""
        while True:
            try:
                return await begin()
            except JobgateError:
                await asyncio.sleep(0.5)

    async def _thread(self) -> None:
        self._open(Mode.THREAD)
        await self._serve(self._make_threads(), Mode.THREAD)

    async def _relay(self) -> None:
        self._open(Mode.CELERY)
        await self._serve(self._make_relay(), Mode.CELERY)

    async def _auto(self) -> None:
        self._open(Mode.THREAD)
        await self._serve(AutoExecutor(self.store, self._make_relay(), self._make_threads()), Mode.THREAD)

    def _make_threads(self) -> ThreadExecutor:
        runner, strangers = Runner(REGISTRY, 1 << 20), Strangers(clock=self.world.loop.time)
        return ThreadExecutor(self.store, runner, self.claimer, SLOTS, QUEUES, strangers)

    def _make_relay(self) -> CeleryExecutor:
        return CeleryExecutor(self.store, "", QUEUES, Patience(), Strangers(clock=self.world.loop.time))

    # A worker: what executors/carrier.py does, without its threads.

    @property
    def busy(self) -> int:
        return len(self.keeper)

    async def _work(self) -> None:
        self._open(Mode.CELERY)
        self.runner = Runner(REGISTRY, 1 << 20)
        self.bodies = BodyLoops("bodies")
        self.reports = Reports(self.store, self.owner)
        self.settling = Settling(self.store, self.reports, LEASE)
        self.keeper = Keeper(self.store, self.claimer, self._give_up, self.bodies.look)
        self.keeper.start()
        self.heartbeat = Heartbeat(self.store, self.claimer, self.owner, "threads", self, REGISTRY)
        await self._until(self.heartbeat.start)
        self._keep_up()
        await asyncio.gather(*(self._answer() for _ in range(SLOTS)))

    async def answer_canary(self) -> None:
        with contextlib.suppress(JobgateError):
            await self.heartbeat.hear()

    async def _answer(self) -> None:
        while True:
            job_id = await self.world.broker.take()
            try:
                await self._carry(job_id)
            except JobgateError:
                continue  # the ring is lost, as it is when a worker's pool logs an error

    async def _carry(self, job_id: str) -> None:
        self.heartbeat.heard += 1
        attempt = await self.store.claim(job_id, self.claimer.params)
        if attempt is None:
            return
        context = Context(attempt, self.reports.reporter(attempt))
        seat = AsyncSeat(self.bodies)
        self.keeper.begin(Running(attempt, context, seat.interrupt, seat))
        body = seat.start(lambda interruption: self.runner.perform_async(attempt, context, interruption))
        try:
            step = await asyncio.wrap_future(body)
        except asyncio.CancelledError:
            step = interrupt(attempt)
        if self.keeper.forget(attempt.id, attempt.attempt) is not None:
            await self.settling.settle(step)

    def _give_up(self, running: Running, step: Step) -> None:
        if self.keeper.forget(step.job_id, step.attempt) is not None:
            self.last = asyncio.ensure_future(self._settle_and_end(running, step))

    async def _settle_and_end(self, running: Running, step: Step) -> None:
        await self.settling.settle(step)
        running.interrupt(LeaseLost)


_world: World


@task(name="sim.work", bind=True, max_retries=3, max_losses=1000)
async def work(self: Context, key: str, seconds: float, failures: int) -> list[object]:
    world = _world
    world.ledger.append(Line("start", key, self.attempt, world.now))
    await asyncio.sleep(seconds)
    if self.retries < failures:
        raise Retry("not yet", 0.5)
    world.ledger.append(Line("end", key, self.attempt, world.now))
    return [key, self.attempt]


REGISTRY = Registry([work])


#: Threads, Celery and what falls back on one record; and Celery alone, where nobody else comes for a lost ring's job.
MIXED = ("thread", "relay", "auto", "worker", "worker")
CELERY = ("relay", "relay", "worker", "worker")


class Story:
    """One run of a world, from its seed to its verdict."""

    def __init__(self, path: str, seed: int, kinds: Sequence[str]) -> None:
        global _world  # noqa: PLW0603  # task bodies have no other way to their world
        self.world = _world = World(path, seed)
        SimulatedDoorbell.world = self.world
        self._kinds = kinds
        self._numbers = iter(range(1, 1_000_000))
        self._asked: list[Coroutine[Any, Any, Any]] = []

    async def tell(self) -> list[str]:
        """What went wrong, in words; nothing if all was kept."""
        world = self.world
        for kind in self._kinds:
            self._start(kind)
        clients = [asyncio.ensure_future(self._submit(n)) for n in range(JOBS)]
        await self._storm()
        await self._heal()
        await asyncio.wait(clients, timeout=QUIET)
        ends = world.now + QUIET
        while world.now < ends and self._open():
            await asyncio.sleep(0.5)
        return self._verdict()

    def _start(self, kind: str) -> None:
        node = Node(self.world, kind, next(self._numbers))
        self.world.nodes.append(node)
        node.start()

    # What goes wrong.

    async def _storm(self) -> None:
        while self.world.now < STORM:
            await asyncio.sleep(self.world.chance.uniform(0.2, 2.0))
            harm = self.world.chance.choice([self._kill, self._freeze, self._cut, self._broker_away, self._flush])
            self._background(harm())

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        self._last = asyncio.ensure_future(work)

    async def _kill(self) -> None:
        world = self.world
        node = world.chance.choice(world.nodes)
        node.process.dead = True
        world.nodes.remove(node)
        world.harm.append((node.owner, float("inf")))
        world.tell(f"{node.owner} is killed")
        await asyncio.sleep(world.chance.uniform(0, 3))
        self._start(node.kind)

    async def _freeze(self) -> None:
        world = self.world
        node = world.chance.choice(world.nodes)
        seconds = world.chance.choice([0.5, LEASE + 1, LEASE + 2, 2 * LEASE])
        node.process.frozen = True
        world.tell(f"{node.owner} is frozen for {seconds:g} s")
        await asyncio.sleep(seconds)
        world.harm.append((node.owner, world.now))
        world.loop.thaw(node.process)

    async def _cut(self) -> None:
        world = self.world
        node = world.chance.choice(world.nodes)
        if not hasattr(node, "store"):
            return
        seconds = world.chance.choice([0.1, 1.0, LEASE, LEASE + 2])
        node.store.wire.cut = True
        world.tell(f"{node.owner} is cut from the store for {seconds:g} s")
        await asyncio.sleep(seconds)
        world.harm.append((node.owner, world.now))
        node.store.wire.cut = False

    async def _broker_away(self) -> None:
        self.world.broker.away = True
        self.world.tell("the broker is away")
        await asyncio.sleep(self.world.chance.uniform(0.1, 4))
        self.world.broker.away = False
        self.world.broker.wake()

    async def _flush(self) -> None:
        self.world.tell("the broker has forgotten everything")
        self.world.broker.flush()

    async def _heal(self) -> None:
        """The last faults come to their end, and none follows."""
        await asyncio.sleep(2 * LEASE + 1)
        self.world.calm = True
        self.world.broker.away = False
        self.world.broker.wake()

    # Clients.

    async def _submit(self, n: int) -> None:
        chance = random.Random(f"{self.world.chance.random()}")
        await asyncio.sleep(chance.uniform(0, STORM))
        key = f"job-{n}"
        seconds = chance.choice([0.0, 0.01, 0.5, 2.0, 2 * LEASE])
        delay = chance.choice([None, None, None, 1.5])
        wish = Submission(task="sim.work", args=[key, seconds, int(chance.random() < 0.1)], countdown=delay)
        job_id = await self._until_answered(wish, key)
        self.world.accepted[key] = job_id
        if chance.random() < 0.1 and await self._until_answered(wish, key) != job_id:
            self.world.twice.append(key)
        if chance.random() < 0.1:
            await self._cancel(key, job_id)

    async def _until_answered(self, wish: Submission, key: str) -> str:
        while True:
            answer = await self._ask(lambda control: control.submit_once(wish, key, "fingerprint"))
            if answer is not None:
                return str(answer[0].id)
            await asyncio.sleep(0.2)

    async def _cancel(self, key: str, job_id: str) -> None:
        answer = await self._ask(lambda control: control.cancel(job_id))
        if answer is not None and answer.action == "revoked":
            self.world.revoked[key] = self.world.now

    async def _ask(self, question: Any) -> Any:
        """The answer of some gateway, or None where none came."""
        doors = [node for node in self.world.nodes if node.control is not None]
        if not doors:
            return None
        door = self.world.chance.choice(doors)
        work = question(door.control)
        self._asked.append(work)
        asked = door.spawn(work)
        try:
            return await asyncio.wait_for(asyncio.shield(asked), 3)
        except (TimeoutError, JobgateError):
            return None

    # The end.

    def close(self) -> None:
        for work in self._asked:  # of doors that were killed before they could begin
            work.close()
        self.world.backend._close()
        self.world.engine.dispose()

    def _open(self) -> bool:
        with self.world.engine.connect() as connection:
            return bool(connection.execute(select(jobs.c.id).where(jobs.c.finished_at.is_(None)).limit(1)).first())

    def _verdict(self) -> list[str]:
        with self.world.engine.connect() as connection:
            rows = connection.execute(select(jobs)).all()
            told = connection.execute(select(events).order_by(events.c.seq)).all()
        found = [*self.world.broken]
        for key, job_id in self.world.accepted.items():
            if job_id not in {row.id for row in rows}:
                found.append(f"{key} is lost")
        found += [f"{key} is two jobs" for key in self.world.twice]
        found += [f"{row.id} is a second job" for row in rows if row.id not in self.world.accepted.values()]
        keys = {job_id: key for key, job_id in self.world.accepted.items()}
        for row in rows:
            found += self._judge(row, [event for event in told if event.job == row.number], keys.get(row.id, "nobody"))
        return found

    def _judge(self, row: Any, story: Sequence[Any], key: str) -> list[str]:
        found = list[str]()
        starts = Counter(line.attempt for line in self.world.ledger if (line.word, line.key) == ("start", key))
        ends = {line.attempt for line in self.world.ledger if (line.word, line.key) == ("end", key)}
        if row.status not in FINAL:
            found.append(f"{key} is stuck in {row.status}")
        if sum(event.status in FINAL for event in story) > 1:
            found.append(f"{key} ended twice")
        if row.status == State.SUCCESS and (row.result != f'["{key}", {row.attempt}]' or row.attempt not in ends):
            found.append(f"{key} says that attempt {row.attempt} gave {row.result}")
        if row.status == State.FAILURE:
            found.append(f"{key} failed: {row.error_code}")
        if any(n > 1 for n in starts.values()) or len(starts) > row.attempt:
            found.append(f"{key} began {dict(starts)} in {row.attempt} attempts")
        if key in self.world.revoked and row.status != State.REVOKED:
            found.append(f"{key} was said to be revoked, and is {row.status}")
        lost = [event for event in story if event.was == State.STARTED and event.error_code == "worker_lost"]
        found += [f"{key} was taken from {event.owner} for nothing" for event in lost if not self._harmed(event)]
        claims = [event for event in story if event.status == State.STARTED and event.attempt in ends]
        done = [event.attempt for event in claims if not self._harmed(event)]
        found += [
            f"{key} did not take what that attempt {n} gave"
            for n in done
            if (row.status, row.attempt) != (State.SUCCESS, n)
        ]
        return found

    def _harmed(self, event: Any) -> bool:
        """Whether something had been done to the owner while, or shortly before, it had the job."""
        since = (event.started_at - BEGINNING) / 1000 - LEASE
        return any(owner == event.owner and until >= since for owner, until in self.world.harm)
