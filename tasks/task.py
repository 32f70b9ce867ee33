"""The task: a named function with options, made by the `@task` decorator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from tasks import limits
from tasks.errors import ConfigurationError, InvalidSubmission
from tasks.handle import Handle, client
from tasks.job import Submission
from tasks.retry import RetryPolicy
from tasks.schedule import Spec
from tasks.signature import Signature

P = ParamSpec("P")
R = TypeVar("R")

#: The queue of a task that names none; Celery's own default.
DEFAULT_QUEUE = "celery"


class BaseTaskWithRetry:
    """Option defaults for `@task(base=…)`: a base is any class whose attributes are named like the options.

    This one is the platform default spelled out: three retries after 1, 2 and 4 minutes.
    """

    max_retries = 3
    retry_backoff = 60.0


#: Options of Celery's `apply_async` that have no counterpart, and what to do instead.
CELERY_ONLY = {
    "link": "submit the next job from the body",
    "link_error": "catch the error in the body, or ask for jobs that failed with GET /api/v1/jobs?status=FAILURE",
    "task_id": "ids are given by the store; idempotency_key of POST /api/v1/jobs, or submit_once(key), names a job",
    "routing_key": "name a queue",
    "exchange": "name a queue",
    "serializer": "arguments are JSON",
    "compression": "arguments are JSON",
    "connection": "jobs go to the store that connect() opened",
    "producer": "jobs go to the store that connect() opened",
    "retry": "a submission is written to the store, not to the broker",
    "ignore_result": "results expire by themselves, see RESULT_EXPIRES",
}


def _moment(value: Any) -> Any:
    """A datetime as text with its offset, anything else as it is.

    Celery takes a datetime without a time zone for UTC as well: `celery.utils.time.maybe_make_aware`.
    """
    if not isinstance(value, datetime):
        return value
    return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).isoformat()


class Task(Generic[P, R]):
    """A function that can be asked for by name, with the options a job of it starts from.

    Calling the task calls the function. `soft_time_limit` and `time_limit` are seconds or None for the deployment's
    default; `rate` is the least number of milliseconds between two starts; `concurrency` how many may run at once
    anywhere, `key_concurrency` how many of one concurrency key; `max_losses` how many crashes of its worker a job
    survives (0: at most once); `fallback` whether threads of the gateway may run it while there is no Celery to do so
    (USE_CELERY=auto): otherwise it waits. `needs` says what the deployment lacks to run it, or "": asked at submission.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        bind: bool = False,
        max_retries: int = 3,
        retry_backoff: float = 60.0,
        retry_backoff_max: float = 3600.0,
        retry_jitter: float = 0.1,
        soft_time_limit: float | None = None,
        time_limit: float | None = None,
        rate_limit: str | float | None = None,
        concurrency: int | None = None,
        key_concurrency: int = 1,
        priority: int = 0,
        max_losses: int = 3,
        fallback: bool = True,
        needs: Callable[[], str] | None = None,
    ) -> None:
        self.function = function
        self.name = name or f"{function.__module__}.{function.__qualname__}"
        self.queue = queue
        self.bind = bind
        self.retry = RetryPolicy(
            max_retries=max_retries, backoff=retry_backoff, backoff_max=retry_backoff_max, jitter=retry_jitter
        )
        self.soft_time_limit, self.time_limit = soft_time_limit, time_limit
        self.rate = limits.interval(rate_limit)
        self.rate_limit = rate_limit
        self.concurrency, self.key_concurrency = concurrency, key_concurrency
        self.priority = priority
        self.max_losses = max_losses
        self.fallback, self.needs = fallback, needs
        self.is_async = inspect.iscoroutinefunction(function)
        self.signature = Signature(function, skip_first=bind)
        #: What `@schedule` declared for it.
        self.schedules: list[Spec] = []
        self._refuse_nonsense()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    @property
    def limit_name(self) -> str:
        """The name of the limit that its jobs must pass, or "" for none."""
        return self.name if self.rate is not None or self.concurrency is not None else ""

    @cached_property
    def description(self) -> str:
        return inspect.getdoc(self.function) or ""

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """Submit a job with these arguments; returns once it is accepted."""
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Any = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Handle:
        """Submit a job; `options` are the other fields of `tasks.job.Submission`."""
        return client().submit(self.submission(args, kwargs, **options))

    async def delay_async(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """`delay` for async callers."""
        return await self.submit_async(args, kwargs)

    async def submit_async(self, args: Any = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Handle:
        """`apply_async` for async callers."""
        return await client().submit_async(self.submission(args, kwargs, **options))

    async def submit_once(
        self, key: str, args: Any = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Handle:
        """Submit a job unless one was submitted under `key` before: for bodies, which may run twice."""
        return await client().submit_once_async(self.submission(args, kwargs, **options), key)

    def submission(self, args: Any = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Submission:
        """The request for a job. `eta` and `expires` may be datetimes; without a time zone they are in UTC."""
        for name in options.keys() & CELERY_ONLY:
            words = f"{name} is an option of Celery that Jobgate does not have: {CELERY_ONLY[name]}"
            raise InvalidSubmission(words, f"/{name}")
        given = {name: _moment(value) for name, value in options.items()}
        return Submission(task=self.name, args=list(args), kwargs=dict(kwargs or {}), **given)

    def s(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ConfigurationError: there are no signatures, chains, groups or chords. `delay` submits from a body."""
        raise ConfigurationError(
            "Jobgate has no canvas (signature, chain, group, chord): submit the next job from the body of the one "
            "before, with delay() or, once however often the body runs, with submit_once()"
        )

    si = s

    def _refuse_nonsense(self) -> None:
        checks = {
            "queue must not be empty": bool(self.queue),
            "priority takes 0 to 9, 9 is served first": 0 <= self.priority <= 9,
            "max_retries takes 0 or more": self.retry.max_retries >= 0,
            "retry_backoff takes seconds, 0 or more": self.retry.backoff >= 0,
            "max_losses takes 0 or more": self.max_losses >= 0,
            "soft_time_limit takes seconds above 0": self.soft_time_limit is None or self.soft_time_limit > 0,
            "time_limit takes seconds above 0": self.time_limit is None or self.time_limit > 0,
            "concurrency takes 1 or more": self.concurrency is None or self.concurrency >= 1,
            "key_concurrency takes 1 or more": self.key_concurrency >= 1,
        }
        for words, holds in checks.items():
            if not holds:
                raise ConfigurationError(f"task {self.name}: {words}")


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(*, base: type | None = None, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Callable[P, R] | None = None, /, *, base: type | None = None, **options: Any) -> Any:
    """Make a task of a function, sync or async; the options are those of `Task`.

    With `bind=True` the function's first parameter is the `Context`. `base` is a class whose attributes give defaults.
    """
    defaults = {k: getattr(base, k) for k in dir(base) if not k.startswith("_")} if base is not None else {}

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        return Task(function, **{**defaults, **options})

    return decorate if function is None else decorate(function)


def async_task(
    name: str | None = None,
    queue: str = DEFAULT_QUEUE,
    max_retries: int = 3,
    bind: bool = False,
    **options: Any,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """`@task` for `async def` alone: with `bind=True` the function gets the `Context` in front of its arguments, with
    `bind=False` it gets its arguments. Raises ConfigurationError for a function that does not fit."""

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, Coroutine[Any, Any, R]]:
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"@async_task over {function.__qualname__}: write `async def`, or take @task")
        first = next(iter(inspect.signature(function).parameters), None)
        if bind and first is None:
            raise ConfigurationError(f"@async_task over {function.__qualname__}: bind=True needs a first parameter")
        if not bind and first == "self":
            raise ConfigurationError(f"@async_task over {function.__qualname__}: `self` comes with bind=True only")
        return Task(function, name=name, queue=queue, max_retries=max_retries, bind=bind, **options)

    return decorate
