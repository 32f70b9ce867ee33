"""Puts a process together from its settings: the only place that knows which carrier was asked for."""

from __future__ import annotations

import asyncio
import difflib
import importlib
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from executors import handles, logs, packs, plugged
from executors.auto_executor import AutoExecutor, Relay
from executors.base import Executor
from executors.control import Control
from executors.examination import Doctor
from executors.heartbeat import Heartbeat
from executors.identity import host, make_owner
from executors.keeper import Claimer
from executors.pool import Drill
from executors.runner import Runner
from executors.schedules import Schedules
from executors.settings import Settings
from executors.strangers import Strangers
from executors.thread_executor import ThreadExecutor
from executors.ticker import Ticker
from executors.upkeep import Upkeep
from executors.watch import Watch
from tasks import handle, registry
from tasks.admission import Admission
from tasks.declaration import declared
from tasks.job import Mode
from tasks.registry import Registry
from tasks.store.schedule_store import ScheduleStore
from tasks.store.store import JobStore, open_store
from tasks.task import DEFAULT_QUEUE, Task

log = logging.getLogger("jobgate.tasks")

#: Seconds of the first pause while waiting for a job that another process ends; where this process ends it, the
#: look-out is only the safety net.
_WATCH = {Mode.CELERY: 0.001, Mode.THREAD: 0.05}


def load_tasks(settings: Settings, anew: bool = False) -> Registry:
    """The tasks of this deployment, `anew` from their files; the packs among them are told their settings."""
    found = registry.load_anew(settings.modules) if anew else registry.load(settings.modules)
    logs.outlive_task_modules()
    packs.configure(found, settings.environment, lambda: settings.packs_url)
    return found


def warn_if_empty(found: Registry, settings: Settings) -> None:
    """Writes a warning if no task is registered: a gateway then refuses every job, and a worker runs none."""
    if not len(found):
        words = "tasks: none is registered, so every job is refused: %s define none; TASK_MODULES names the modules"
        log.warning(words, ", ".join(settings.modules))


def warn_of_unknown_queues(chosen: Iterable[str], known: Sequence[str]) -> None:
    """Writes a warning for each queue that a worker listens to and no job can be sent to: often a mistyped name."""
    for queue in sorted(set(chosen) - set(known)):
        near = difflib.get_close_matches(queue, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        words = "worker: listens to queue %s, which is no task's and not in JOBGATE_QUEUES: no job comes there%s"
        log.warning(words, queue, meant)


def queue_order(settings: Settings, admission: Admission) -> list[list[str]]:
    """The groups of JOBGATE_QUEUES; every other queue that a task names is served with the last of them."""
    order = [list(group) for group in settings.queue_order] or [[]]
    named = {queue for group in order for queue in group}
    order[-1].extend(sorted(queue for queue in {*admission.queues, DEFAULT_QUEUE} if queue not in named))
    return order


def claimer(settings: Settings, mode: Mode, name: str) -> Claimer:
    """The right of this process, one of the worker `name`, to claim jobs."""
    return Claimer(owner=make_owner(name), mode=mode, lease=settings.lease, grace=settings.cancel_grace)


async def open_for(settings: Settings, mode: Mode, make: bool = True) -> JobStore:
    """A started store for a process of these settings; without `make`, only of a database that is there."""
    url, synchronous = settings.database_url, settings.sqlite_synchronous
    return await open_store(url, mode, settings.result_expires, make=make, synchronous=synchronous)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[JobStore]:
    """The store of this process."""
    store = await open_for(settings, settings.mode)
    try:
        yield store
    finally:
        await store.stop()


@asynccontextmanager
async def provided(found: Registry, settings: Settings) -> AsyncIterator[None]:
    """The packs' tables are there."""
    try:
        await packs.make_ready(found, settings.packs_url)
        yield
    finally:
        await packs.close(found)


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Control]:
    """A running gateway without its door: store, carrier, upkeep, and the control that HTTP talks to."""
    found = load_tasks(settings)
    warn_if_empty(found, settings)
    admission = Admission(found, settings.defaults)
    async with opened(settings) as store, provided(found, settings):
        for pack in found.packs:
            pack.prepare()
        await declare_limits(store, found)
        executor = _executor(settings, store, found, admission)
        watch = Watch(store, _WATCH[settings.mode])
        control = Control(store, found, admission, watch, executor, settings.cancel_grace)
        control.order = queue_order(settings, admission)
        await control.schedules.declare(declared(found))
        control.doctor = Doctor(settings, found, [queue for group in control.order for queue in group], store)
        upkeep = _upkeep(settings, store, admission)
        handle.bind(handles.LoopClient(control))
        await executor.start()
        upkeep.start()
        control.bulks.start()
        try:
            yield control
        finally:
            await control.bulks.stop()
            await executor.stop(settings.drain_timeout)
            await upkeep.stop()
            handle.bind(None)


@asynccontextmanager
async def scheduler(settings: Settings) -> AsyncIterator[None]:
    """Upkeep without a door and without slots; in Celery mode with the relay."""
    found = load_tasks(settings)
    async with opened(settings) as store, provided(found, settings):
        admission = Admission(found, settings.defaults)
        await Schedules(store, admission).declare(declared(found))
        upkeep = _upkeep(settings, store, admission)
        relay = _relay(settings, store, admission) if settings.use_celery else None
        upkeep.start()
        if relay is not None:
            await relay.start()
        try:
            yield
        finally:
            if relay is not None:
                await relay.stop(0)
            await upkeep.stop()


def _upkeep(settings: Settings, store: JobStore, admission: Admission) -> Upkeep:
    schedules = ScheduleStore(store, make_owner())
    ticker = Ticker(store, schedules, admission, settings.job_retention, settings.cancel_grace)
    return Upkeep(store, settings.result_expires, settings.job_retention, ticker.tick)


async def declare_limits(store: JobStore, found: Registry) -> None:
    """Write the tasks' rate and concurrency limits into the store."""
    for task in found:
        if task.limit_name:
            await store.set_limit(task.limit_name, task.rate, task.concurrency)
    await store.lift_limits([task.name for task in found if not task.limit_name])


def _executor(settings: Settings, store: JobStore, found: Registry, admission: Admission) -> Executor:
    if settings.use_celery is True:
        return _relay(settings, store, admission)
    auto = settings.use_celery == "auto"
    name = f"gateway@{host()}"
    mine = claimer(settings, Mode.THREAD, name)
    runner = Runner(found, settings.result_max_bytes)
    if settings.executor:
        order = queue_order(settings, admission)
        parts = plugged.Parts(store=store, runner=runner, claimer=mine, queues=order, settings=settings)
        return plugged.make(settings.executor, parts)
    strangers = Strangers(settings.unknown_task_patience, _barred(found, auto))
    order = queue_order(settings, admission)
    threads = ThreadExecutor(store, runner, mine, settings.threads, order, strangers)
    executor = AutoExecutor(store, _relay(settings, store, admission), threads) if auto else threads
    offered = _offered(found, auto)
    threads.heartbeat = Heartbeat(store, mine, name, "threads", executor, offered)

    async def load() -> int:
        found.replace(await asyncio.to_thread(load_tasks, settings, anew=True))
        admission.renew()
        await declare_limits(store, found)
        strangers.bar(_barred(found, auto))
        strangers.forget({task.name for task in found})
        threads.serve(queue_order(settings, admission))
        offered[:] = _offered(found, auto)
        return len(found)

    threads.drill = Drill(threads, settings.drain_timeout, load)
    return executor


def _barred(found: Registry, auto: bool) -> list[str]:
    """The tasks that threads must not run where they only stand in."""
    return [task.name for task in found if auto and not task.fallback]


def _offered(found: Registry, auto: bool) -> list[Task[..., Any]]:
    return [task for task in found if not auto or task.fallback]


def _relay(settings: Settings, store: JobStore, admission: Admission) -> Relay:
    # By name, so that a gateway in thread mode never loads the wire to a broker.
    module = importlib.import_module("executors.celery_executor")
    order = queue_order(settings, admission)
    strangers = Strangers(settings.unknown_task_patience)
    relay: Relay = module.CeleryExecutor(store, settings.broker_url, order, settings.patience, strangers)
    return relay
