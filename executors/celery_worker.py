"""The worker process: `python -m executors.celery_worker`, or `celery -A executors.celery_worker worker …`.

Every task is registered with Celery under its own name, so that logs, Flower and `inspect` show real names; what runs
is always the same: answer the ring.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import click
from billiard import active_children
from billiard.exceptions import WorkerLostError
from celery import Celery, signals
from celery.app.task import Task as CeleryTask
from celery.exceptions import WorkerTerminate
from celery.worker import state
from kombu import Exchange, Queue

from executors import assembly, logs
from executors.adoption import Adoption
from executors.carrier import Carrier
from executors.celery_app import make_celery
from executors.celery_child import end_child, pool_name, pool_processes, prepare_child, process_index
from executors.celery_consumer import end_step
from executors.celery_control import ParentControl, cancel_by_wire
from executors.celery_doorbell import CANARY, CANARY_LIFE, HEADER, UNKNOWN, canary_queue
from executors.celery_outcome import JobFailed, JobRequest, NotEnded, hide_from_log, raise_outcome, raise_state
from executors.deafness import Remedy
from executors.end_signals import default_in_forks
from executors.identity import host, make_instance
from executors.leaving import GRACE, LEFTOVERS, Leaving
from executors.settings import Settings
from executors.stand_in import StandIns
from executors.store_wait import wait_for_store
from executors.word import Role, Word
from executors.worker_name import WorkerName
from tasks.admission import Admission
from tasks.errors import InvalidSubmission, JobgateError, StoreUnavailable
from tasks.job import Mode, Submission
from tasks.private_files import keep_files_private
from tasks.registry import Registry
from tasks.step import Step
from tasks.store.backend import load_backend, parse_url
from tasks.store.store import open_store

log = logging.getLogger("jobgate.worker")

#: Seconds between two looks of the parent whether a child has died, and whether the worker is deaf.
LOOK = 0.25
#: Seconds that a worker may need to end after its jobs did.
EXIT_GRACE = 5.0


class Worker:
    """What the worker's processes share: settings, tasks, and the moment at which they must give up what they hold."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: Whether Celery's own lines below WARNING are left out: nobody has asked for a level on the command line.
        self.hides_celery = False
        # Before any fork: a child that is forked while a thread of the parent imports has half a module for ever.
        load_backend(parse_url(settings.database_url))
        self.registry = assembly.load_tasks(settings)
        order = assembly.queue_order(settings, Admission(self.registry, settings.defaults))
        self.queues = [queue for group in order for queue in group]
        self._word = Word(self.queues)
        self._adoption = Adoption(settings.adopt)
        self._parent = os.getpid()
        self._instance = make_instance()
        self._name = WorkerName(settings)
        self._remedy = Remedy(self._start_anew_soon, settings.drain_timeout + EXIT_GRACE)
        #: What Celery ended the worker with.
        self.exit_code = 0
        self._carrier: Carrier | None = None
        self._making = threading.Lock()
        self._children: set[int] = set()
        self._stand_ins = StandIns(settings, self._word)
        self._leaving = Leaving(last=self._end_at_once)
        self.app = make_celery(settings, self.queues)
        # The command line may name others, see `_set_up`.
        self._pool: str = settings.celery_pool
        self._concurrency = settings.celery_concurrency
        self._control = ParentControl(self.app, self._word, self._parent)
        self._control.name = f"celery@{host()}"
        for name in (UNKNOWN, CANARY, *(task.name for task in self.registry)):
            self._register(name)

    @property
    def log_level(self) -> str:
        return self._settings.log_level

    def _log(self, logger: logging.Logger, **_: Any) -> None:
        """Celery has set up its log: give its lines the form of all processes, and tasks' lines their job."""
        for handler in logger.handlers:
            handler.setFormatter(logs.formatter(self._settings.log_format))
        logs.follow_tasks()
        if self.hides_celery:  # the attempt's own line says what Celery's would, in every mode
            logs.silence_libraries()
            logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)

    def connect(self) -> None:
        """Listen to the signals of Celery's life."""
        hide_from_log(CANARY)
        cancel_by_wire(self._word.cancels)
        JobRequest.give_back = staticmethod(self._give_back)
        signals.after_setup_logger.connect(self._log, weak=False)
        signals.celeryd_init.connect(self._named, weak=False)
        signals.celeryd_after_setup.connect(self._set_up, weak=False)
        signals.worker_process_init.connect(self._begin, weak=False)
        signals.worker_process_shutdown.connect(self._end, weak=False)
        signals.worker_ready.connect(self._ready, weak=False)
        signals.worker_shutting_down.connect(self._shutting_down, weak=False)
        self.app.steps["worker"].add(end_step(self._ending))
        signals.worker_shutdown.connect(self._end, weak=False)
        signals.task_failure.connect(self._failed, weak=False)

    @property
    def own_processes(self) -> bool:
        return self._pool == "prefork"

    def carrier(self) -> Carrier:
        """The carrier of this process, made on first use: nothing that has threads may exist before a fork."""
        with self._making:
            if self._carrier is None:
                slots = self._concurrency if self._pool == "threads" else 1
                pool, word, control = self._pool, self._word, self._control
                role = Role(
                    control.name, self._instance, slots, pool, word, control.obey, self._remedy.take_in, process_index()
                )
                self._carrier = Carrier(self._settings, self.registry, role)
            return self._carrier

    def answer(self, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What every registered task does: answer our ring, or adopt what another program sent."""
        if request.task == CANARY:
            self.carrier().hear()
            return
        if getattr(request, HEADER, None) is not None:
            self._report(request.id, self.carrier().carry(request.id))
            return
        if not self._adoption.allows(request.task):
            self._adoption.drop(request.task, request.id)
            raise JobFailed(f"dropped: JOBGATE_ADOPT does not list {request.task}")
        self._adopt(
            request, Submission(task=request.task, args=list(args), kwargs=kwargs, queue=self._queue_of(request))
        )

    def _adopt(self, request: Any, wish: Submission) -> None:
        try:
            step = self.carrier().adopt(request.id, wish)
        except InvalidSubmission as error:
            log.error("worker: message %s of task %s was dropped: %s", request.id, request.task, error)  # noqa: TRY400  # the sender's mistake; a trace of ours tells nothing
            raise JobFailed(f"dropped: {error}") from None
        if step is None:  # it came twice, or waits for a limit
            raise NotEnded
        raise_outcome(step)

    def _report(self, job_id: str, step: Step | None) -> None:
        """Celery's state of the message becomes that of the job."""
        if step is None:
            raise_state(self.carrier().state_of(job_id))
        raise_outcome(step)

    def _queue_of(self, request: Any) -> str | None:
        """The queue that the sender chose: Celery's default queue is nobody's choice, so the task's own stands."""
        queue = (request.delivery_info or {}).get("routing_key")
        return queue if queue in self.queues and queue != self.app.conf.task_default_queue else None

    def _register(self, name: str) -> None:
        def answer(bound: CeleryTask, *args: Any, **kwargs: Any) -> None:
            self.answer(bound.request, args, kwargs)

        # Pings are no jobs: events of them would fill Flower's list.
        options = {"send_events": name != CANARY, "throws": (JobFailed,), "Request": JobRequest}
        self.app.task(name=name, bind=True, typing=False, **options)(answer)

    def _named(self, sender: str, instance: Any, **_: Any) -> None:
        """Before Celery uses the node name anywhere: commands by wire reach every worker of one name.

        Only a worker comes here, so only a worker opens or makes the database: `celery inspect` imports this module
        too.
        """
        try:
            asyncio.run(_check(self._settings, self.registry))
        except JobgateError as error:
            _end_start(error)
        self._control.name = instance.hostname = self._name.reserve(sender, self._instance)

    def _set_up(self, instance: Any, **_: Any) -> None:
        """After Celery has read its command line, which may name another pool and size than the settings, and with `-Q`
        fewer queues: the registry names those that are left."""
        self._pool = pool_name(instance.pool_cls)
        self._concurrency = 1 if self._pool == "solo" else instance.concurrency
        self._control.pool = self._pool
        chosen = instance.app.amqp.queues.consume_from
        self._word.queues = [queue for queue in self.queues if queue in chosen]
        assembly.warn_of_unknown_queues(chosen, self.queues)
        name = canary_queue(self._instance)
        queue = instance.app.amqp.queues.select_add(Queue(name, routing_key=name, expires=CANARY_LIFE))
        queue.exchange = Exchange("")  # Celery put its default there; a binding would outlive the worker

    def _begin(self, **_: Any) -> None:
        """A child that cannot start must say why and go: Celery would take its silence for health."""
        if os.getpid() == self._parent:  # the pool `solo` has no processes; `_ready` follows
            return
        prepare_child()
        try:
            self.carrier()
        except JobgateError as error:
            # Before the end: Celery forks another process at once, in which nothing is left of this start.
            wait_for_store(self._settings, error, lambda: self._word.drain_at > 0 or os.getppid() != self._parent)
            _end_start(error)

    def _ready(self, sender: Any = None, **_: Any) -> None:
        if not self.own_processes:
            self.carrier()
            default_in_forks()
        if sender.hub is not None:
            self._watch(sender)
            sender.hub.on_tick.add(lambda: self._turned(sender))
        assembly.warn_if_empty(self.registry, self._settings)
        name = self._control.name
        print(f"Jobgate worker {name}: {self._pool} x {self._concurrency}, "
              f"{len(self.registry)} tasks, queues {', '.join(self._word.queues)}", flush=True)  # fmt: skip

    def _watch(self, sender: Any) -> None:
        self._watched_at = time.monotonic()
        sender.hub.call_repeatedly(LOOK, self._see, sender.pool)

    def _see(self, pool: Any) -> None:
        self._watched_at = time.monotonic()
        if self.own_processes:
            # Celery looks every five seconds, and not always hears of a death before: so long a slot would be missing.
            pool.maintain_pool()
            processes = pool_processes(pool)
            self._stand_ins.check(processes)
            children = set(processes.values())
            if self._children - children:  # killed while idle, as it may be: a sibling strikes it off
                self._word.losses += 1
            self._children = children
        self._remedy.connect_anew()

    def _turned(self, sender: Any) -> None:
        """A lost connection to the broker costs the parent's loop all its timers: it gets a new one."""
        if time.monotonic() - self._watched_at > 10 * LOOK:
            self._watch(sender)

    def _start_anew_soon(self) -> None:
        """In any process: let the parent drain, and then begin again."""
        self._word.anew = True
        self._drain()

    def start_anew(self) -> None:
        """At the very end of the parent: become a new worker, of the same pid and command line, with today's code."""
        if self._word.anew and os.getpid() == self._parent:
            sys.stdout.flush()
            self._name.release()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # our own command line

    def _end(self, sender: Any = None, **_: Any) -> None:
        self.exit_code = getattr(sender, "exitcode", None) or 0
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.stop()
            if not self.own_processes:  # a process with bodies in threads, which may have left others behind
                self._leaving.code, self._leaving.closed = self.exit_code, True
                self._leaving.within(LEFTOVERS)
            elif self._word.drain_at:
                end_child()

    def _end_at_once(self) -> None:
        """The worker could not end in time: its processes must not outlive it."""
        for child in active_children():
            with contextlib.suppress(OSError):
                os.kill(child.pid, signal.SIGKILL)
        self.start_anew()

    def _drain(self) -> None:
        self._word.drain_at = time.monotonic() + self._settings.drain_timeout

    def _give_back(self) -> None:
        """Called by Celery's handler of a cold shutdown, which waits for the pool before it returns."""
        self._word.drain_at = time.monotonic()
        self._leaving.within(GRACE)
        if self._pool == "threads":
            # Out of the handler first: it may have interrupted `submit` of a pool of threads, which holds a lock of all
            # such pools of the process, and the store of the same process needs one to give the jobs back.
            raise WorkerTerminate(1)

    def _ending(self) -> None:
        """Celery ends the worker, after a signal or by an error: what runs may go on for the drain timeout."""
        if not self._word.drain_at:
            self._shutting_down()

    def _shutting_down(self, how: str = "Warm", **_: Any) -> None:
        """Celery was told to end; `how` is Cold after SIGQUIT or a second SIGINT: nothing that runs is waited for."""
        patience = 0.0 if how == "Cold" else self._settings.drain_timeout
        self._word.drain_at = time.monotonic() + patience
        self._leaving.within(patience + GRACE)
        if running := len(state.active_requests):
            words = (
                f"jobgate: waiting up to {patience:g} s for the jobs that run ({running}), then the rest is given back"
                if patience
                else f"jobgate: giving back the jobs that run ({running})"
            )
            os.write(2, f"{words}\n".encode())  # to stderr, and not by print: this is a signal handler

    def _failed(self, exception: BaseException | None = None, **_: Any) -> None:
        """In the parent: a child died with a job. Its siblings are told to look after it; a thread of the parent's own
        would be caught by the next fork in the middle of its work."""
        if isinstance(exception, WorkerLostError):
            self._word.losses += 1


async def _check(settings: Settings, found: Registry) -> None:
    """Open the store and the packs' tables once, before any fork: what is wrong is said at start, and once."""
    store = await open_store(settings.database_url, Mode.CELERY, synchronous=settings.sqlite_synchronous)
    await store.stop()
    async with assembly.provided(found, settings):
        pass


def _end_start(error: JobgateError) -> NoReturn:
    """Say why the start failed, and exit: with 1 if another try may succeed, with 2 if a setting is wrong."""
    print(f"jobgate: {error.detail}", file=sys.stderr, flush=True)
    raise SystemExit(1 if isinstance(error, StoreUnavailable) else 2) from error


def _make_worker() -> Worker:
    keep_files_private()
    try:
        settings = Settings.from_env()
        logging.getLogger("jobgate").setLevel(settings.log_level)
        worker = Worker(settings)
    except JobgateError as error:
        _end_start(error)
    worker.connect()
    atexit.register(worker.start_anew)
    return worker


worker = _make_worker()
#: What `celery -A executors.celery_worker` looks for.
app: Celery = worker.app

#: Celery's chatter between workers: it stalls starts and blocks a worker while Redis is stalled; nobody here needs it.
QUIET = ("--without-gossip", "--without-mingle")
#: Without it Celery tells nobody of jobs either. Who asks for events, as Flower needs them, takes the heartbeats too.
SILENT = "--without-heartbeat"
_EVENTS = {"-E", "--task-events"}


def main(arguments: list[str]) -> None:
    """Run the worker and exit with its exit code, which `worker_main` drops; `arguments` are further options of
    `celery worker`."""
    quiet = QUIET if _EVENTS & set(arguments) else (*QUIET, SILENT)
    worker.hides_celery = not any(each.startswith(("--loglevel", "-l")) for each in arguments)
    try:
        app.worker_main(["worker", f"--loglevel={worker.log_level}", *quiet, *arguments])
    except click.ClickException as error:  # a wrong option
        error.show()
        raise SystemExit(error.exit_code) from error
    raise SystemExit(worker.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
