"""The small families: gauges of the record as last read, and what only this process knows.

Collectors are synchronous and the record is not: the exposition reads first, and this renders what it read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from prometheus_client import exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from metrics.schedules import Schedules, families
from tasks.job import FINAL, Mode, State
from tasks.store.series_limit import Pair
from tasks.store.stretch import MAX_NAME, OTHER
from tasks.store.tallies import Series
from tasks.worker import Worker, WorkerState, worker_state

#: Queues that are shown by name; the rest together as `other`.
MAX_QUEUES = 500

#: The label of each state of a worker process.
_STATES = {state: "not_consuming" if state == WorkerState.DEAF else state.value for state in WorkerState}
_OPEN = [state for state in State if state not in FINAL]


class Build(Struct, frozen=True, kw_only=True):
    """What runs here, as `jobgate_build_info` shows it."""

    version: str
    executor: str
    database: str


class Standing(Protocol):
    """Which carrier is in use, and for what trouble threads stand in for Celery; see `executors.base`."""

    @property
    def mode(self) -> Mode: ...
    @property
    def fallback(self) -> str | None: ...
    @property
    def fallbacks(self) -> Mapping[str, int]: ...
    @property
    def broker_up(self) -> bool | None: ...


class Carrier(Protocol):
    """This process's executor, as far as it is shown."""

    @property
    def standing(self) -> Standing: ...


class Gauges(Struct, frozen=True, kw_only=True):
    """The store at the moment `now`, in milliseconds of its clock.

    `due`: by queue, how many jobs wait for a slot, and the oldest's age in seconds. `workers`: lost ones too.
    `uncounted`: how many events wait to be counted, and the oldest's age in seconds.
    """

    due: Mapping[str, tuple[int, float]]
    workers: Sequence[Worker]
    now: int
    uncounted: tuple[int, float]
    schedules: Schedules


class Instruments(Collector):
    """Built by whoever assembles the process, never at import."""

    def __init__(self, build: Build, carrier: Carrier | None = None) -> None:
        self._build = build
        self._carrier = carrier
        #: None while the store does not answer: an old gauge would be a lie.
        self.gauges: Gauges | None = None
        #: Whether `states` are those of now.
        self.counted = False
        #: `states[queue][state]`: jobs now in each state.
        self.states: Mapping[Pair, Series] = {}
        #: None until it has been read: a counter that begins at 0 and then shows what was counted before is a reset.
        self.superseded: int | None = None
        #: Whether the last write probe succeeded.
        self.writable = False
        #: Failed operations of this process, by kind.
        self.store_errors: Mapping[str, int] = {}
        #: Events that counted as `other`; None until it has been read.
        self.dropped: int | None = None
        #: Requests without a valid key, by kind; empty in a process that takes none.
        self.unauthorized: Mapping[str, int] = {}
        self.collect_errors = 0
        self.collect_seconds = 0.0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, openmetrics: bool) -> bytes:
        if openmetrics:
            text: bytes = openmetrics_exposition.generate_latest(self._registry)  # type: ignore[no-untyped-call]  # theirs
            return text.removesuffix(b"# EOF\n")
        return exposition.generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        if self.gauges is not None:
            open_jobs = {queue: _open_jobs(series) for (_, queue), series in self.states.items()}
            states = [(worker, worker_state(worker, self.gauges.now)) for worker in self.gauges.workers]
            alive = [worker for worker, state in states if state != WorkerState.LOST]
            serving = Counter(queue for worker in alive if worker.consumes for queue in worker.queues)
            labels = _labels(
                [*open_jobs, *self.gauges.due, *serving], busy={*self.gauges.due, *filter(open_jobs.get, open_jobs)}
            )
            if self.counted:
                yield _jobs(open_jobs, labels)
            yield from _queues(self.gauges.due, labels)
            yield _consumers(serving, labels)
            yield _worker_states(states)
            yield from _slots(alive)
            yield from _uncounted(*self.gauges.uncounted)
            yield from families(self.gauges.schedules)
        yield from self._own()
        if self._carrier is not None:
            yield from _standing(self._carrier.standing)

    def _own(self) -> Iterator[Metric]:
        build = {"version": self._build.version, "executor": self._build.executor, "database": self._build.database}
        yield InfoMetricFamily("jobgate_build", "What runs here.", value=build)
        if self.superseded is not None:
            yield CounterMetricFamily(
                "jobgate_jobs_superseded", "Outcomes that came too late and were refused.", value=self.superseded
            )
        if self.dropped is not None:
            yield CounterMetricFamily(
                "jobgate_series_dropped",
                "Events that count as `other`: their series is beyond a limit.",
                value=self.dropped,
            )
        yield from self._store()
        if self.unauthorized:
            refused = CounterMetricFamily(
                "jobgate_http_unauthorized", "Requests without a valid API key.", labels=["kind"]
            )
            for kind, number in self.unauthorized.items():
                refused.add_metric([kind], number)
            yield refused
        yield CounterMetricFamily(
            "jobgate_collect_errors",
            "Scrapes of this process that could not read the store.",
            value=self.collect_errors,
        )
        yield GaugeMetricFamily(
            "jobgate_collect_duration_seconds", "How long reading the store took this time.", value=self.collect_seconds
        )

    def _store(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "jobgate_store_up", "1 if this process could read or write its store when it was scraped.", labels=["op"]
        )
        up.add_metric(["read"], self.gauges is not None)
        up.add_metric(["write"], self.writable)
        errors = CounterMetricFamily(
            "jobgate_store_errors", "Reads and writes of this process that its store did not serve.", labels=["op"]
        )
        for operation, number in self.store_errors.items():
            errors.add_metric([operation], number)
        yield from (up, errors)


def _standing(standing: Standing) -> Iterator[Metric]:
    in_use = GaugeMetricFamily("jobgate_carrier", "1 for the carrier that this process uses now.", labels=["executor"])
    for mode in Mode:
        in_use.add_metric([mode], mode == standing.mode)
    now = GaugeMetricFamily("jobgate_fallback", "1 while threads stand in for Celery, by reason.", labels=["reason"])
    count = CounterMetricFamily("jobgate_fallbacks", "How often threads began to stand in.", labels=["reason"])
    for reason, number in standing.fallbacks.items():
        now.add_metric([reason], reason == standing.fallback)
        count.add_metric([reason], number)
    yield from (in_use, now, count)
    if standing.broker_up is not None:
        yield GaugeMetricFamily(
            "jobgate_broker_up", "1 while the broker answers this process within its time.", value=standing.broker_up
        )


def _uncounted(events: int, seconds: float) -> Iterator[Metric]:
    yield GaugeMetricFamily("jobgate_uncounted_events", "Events that no counter has counted yet.", value=events)
    yield GaugeMetricFamily(
        "jobgate_counting_lag_seconds",
        "Age of the oldest event that is not counted yet; 0 if there is none.",
        value=seconds,
    )


def _open_jobs(series: Series) -> dict[str, int]:
    """The number of jobs by state; empty if there are none."""
    found = {state.value: series.get(state, (0, 0.0))[0] for state in _OPEN}
    return found if any(found.values()) else {}


def _labels(queues: Iterable[str], busy: Container[str]) -> dict[str, str]:
    """The label of each queue. Where there are too many to be named, those with jobs that have not ended come first."""
    known = sorted(dict.fromkeys(queues), key=lambda queue: queue not in busy)
    return {queue: queue[:MAX_NAME] if n < MAX_QUEUES else OTHER for n, queue in enumerate(known)}


def _jobs(open_jobs: Mapping[str, Mapping[str, int]], labels: Mapping[str, str]) -> Metric:
    jobs = GaugeMetricFamily(
        "jobgate_jobs", "Jobs that have not ended, by state: PENDING and RETRY wait.", labels=["queue", "state"]
    )
    total: Counter[tuple[str, str]] = Counter()
    for queue, states in open_jobs.items():
        for state in _OPEN:
            total[labels[queue], state.value] += states.get(state, 0)
    for label, number in total.items():
        jobs.add_metric(label, number)
    return jobs


def _queues(due: Mapping[str, tuple[int, float]], labels: Mapping[str, str]) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "jobgate_queue_depth", "Jobs that are due and have not started, dispatched or not.", labels=["queue"]
    )
    age = GaugeMetricFamily(
        "jobgate_queue_oldest_job_age_seconds",
        "How long the oldest due job has waited; 0 if none does.",
        labels=["queue"],
    )
    numbers: Counter[str] = Counter()
    ages: dict[str, float] = {}
    for queue, label in labels.items():
        number, seconds = due.get(queue, (0, 0.0))
        numbers[label] += number
        ages[label] = max(ages.get(label, 0.0), seconds)
    for label, number in numbers.items():
        depth.add_metric([label], number)
        age.add_metric([label], ages[label])
    yield from (depth, age)


def _consumers(serving: Mapping[str, int], labels: Mapping[str, str]) -> Metric:
    consumers = GaugeMetricFamily(
        "jobgate_queue_consumers", "Processes that take jobs from the queue; 0: nobody does.", labels=["queue"]
    )
    total: Counter[str] = Counter()
    for queue, label in labels.items():
        total[label] += serving.get(queue, 0)
    for label, number in total.items():
        consumers.add_metric([label], number)
    return consumers


def _worker_states(states: Sequence[tuple[Worker, WorkerState]]) -> Metric:
    family = GaugeMetricFamily("jobgate_workers", "Processes that run jobs, by state.", labels=["executor", "state"])
    numbers = Counter((worker.mode, state) for worker, state in states)
    for mode in Mode:
        for state, label in _STATES.items():
            # Zeros too: an alert on what is missing needs something to compare.
            family.add_metric([mode, label], numbers[mode, state])
    return family


def _slots(workers: Sequence[Worker]) -> Iterator[Metric]:
    slots = GaugeMetricFamily("jobgate_worker_slots", "Jobs that can run at once.", labels=["executor"])
    abandoned = GaugeMetricFamily(
        "jobgate_worker_threads_abandoned", "Threads whose body ignores its end and goes on.", labels=["executor"]
    )
    busy = GaugeMetricFamily("jobgate_worker_slots_busy", "Slots that run a job now.", labels=["executor"])
    for mode in Mode:
        here = [worker for worker in workers if worker.mode == mode]
        slots.add_metric([mode], sum(worker.slots for worker in here))
        busy.add_metric([mode], sum(worker.busy for worker in here))
        abandoned.add_metric([mode], sum(worker.abandoned for worker in here))
    yield from (slots, busy, abandoned)
