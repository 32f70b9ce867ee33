"""The deployment's settings: read from the environment once, by the process entries, into a frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import PurePath
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from executors.base import Patience
from executors.environment import read
from executors.packs import place_beside
from executors.secret_files import SECRETS, SUFFIX, with_secrets
from tasks.admission import Defaults
from tasks.clock_change import zone
from tasks.errors import ConfigurationError
from tasks.job import Mode
from tasks.packs import modules_of
from tasks.store.backend import parse_url

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1, le=1000)]
Seconds = Annotated[float, Meta(gt=0, le=315_360_000)]

#: The tasks that come with the product.
_PACKS = ("tasks.packs.files", "tasks.packs.demo")


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting of every process; the environment variable of each is in `VARIABLES`. Durations are seconds."""

    host: str = "127.0.0.1"
    port: Port = 8000
    use_celery: bool | Literal["auto"] = False
    executor: str = ""
    database_url: str = "sqlite:///var/jobgate.db"
    database_name: Annotated[str, Meta(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_$-]*$(?!\n)")] = ""
    sqlite_synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    broker_url: str = "redis://127.0.0.1:6379/0"
    task_modules: tuple[str, ...] = _PACKS
    packs: tuple[str, ...] = ()
    packs_database_url: str = ""
    api_keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    metrics_public: bool = False
    behind_tls: bool = False
    adopt: tuple[str, ...] = ()
    remote_control: bool = True
    queues: str = ""
    timezone: str = "UTC"
    threads: Count = 32
    celery_concurrency: Count = 4
    celery_max_tasks_per_child: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    celery_pool: Literal["prefork", "threads", "solo"] = "prefork"
    soft_time_limit: Seconds = 300.0
    time_limit: Seconds = 600.0
    result_expires: Seconds = 3600.0
    job_retention: Seconds = 7 * 86_400.0
    result_max_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 1 << 20
    unknown_task_patience: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    lease: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    cancel_grace: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    drain_timeout: Annotated[float, Meta(ge=0, le=3600)] = 20.0
    broker_silence: Annotated[float, Meta(ge=1, le=3600)] = 1.5
    worker_silence: Annotated[float, Meta(ge=2, le=10)] = 3.0
    canary_silence: Annotated[float, Meta(ge=2, le=3600)] = 5.0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    #: Names of variables that are set and look like settings of Celery, but that nobody here reads.
    unread: tuple[str, ...] = ()
    #: The variables themselves, where packs find theirs.
    environment: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """The settings, or ConfigurationError naming the variable and what it takes."""
        _refuse_unknown(environ)
        environ = with_secrets(environ)
        broker = "CELERY_BROKER_URL" if environ.get("CELERY_BROKER_URL") else _FALLBACKS["CELERY_BROKER_URL"]
        environ = {**{variable: environ.get(other, "") for variable, other in _FALLBACKS.items()}, **_set(environ)}
        settings = read(cls, VARIABLES, environ, unread=_unread(environ), environment=dict(environ))
        _check_broker(settings.broker_url, broker)
        settings = msgspec.structs.replace(settings, broker_url=_verifying(settings.broker_url))
        if settings.executor and settings.use_celery:
            raise ConfigurationError("JOBGATE_EXECUTOR stands in the place of threads: leave USE_CELERY out beside it")
        _check_queues(settings.queues)
        _check_limits(settings, environ)
        _check_zone(settings.timezone)
        modules_of(settings.packs)
        return _apart(settings) if settings.database_name else settings

    @property
    def mode(self) -> Mode:
        """The carrier that jobs are first meant for."""
        return Mode.CELERY if self.use_celery else Mode.THREAD

    @property
    def modules(self) -> list[str]:
        """All modules that bring tasks: TASK_MODULES, and the packs of JOBGATE_PACKS."""
        return list(dict.fromkeys([*self.task_modules, *modules_of(self.packs)]))

    @property
    def packs_url(self) -> str:
        """Where the packs' tables are."""
        return self.packs_database_url or place_beside(self.database_url)

    @property
    def patience(self) -> Patience:
        return Patience(broker=self.broker_silence, life=self.worker_silence, canary=self.canary_silence)

    @property
    def queue_order(self) -> tuple[tuple[str, ...], ...]:
        """JOBGATE_QUEUES as groups: `a>b,c` serves a strictly before b and c, which share."""
        groups = [tuple(filter(None, map(str.strip, group.split(",")))) for group in self.queues.split(">")]
        return tuple(group for group in groups if group)

    @property
    def defaults(self) -> Defaults:
        return Defaults(
            soft_time_limit=self.soft_time_limit,
            time_limit=self.time_limit,
            queues=tuple(queue for group in self.queue_order for queue in group),
            timezone=self.timezone,
        )


class CallerSettings(Struct, frozen=True, kw_only=True):
    """Where a command finds the gateway, and the key that it shows there ("" for none)."""

    url: str
    api_key: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, url: str | None = None) -> CallerSettings:
        """`url` (of --url) or JOBGATE_URL, and JOBGATE_API_KEY; without a URL, the gateway of this machine at PORT."""
        name = "JOBGATE_URL" if url is None else "--url"
        if url is None:
            url = environ.get("JOBGATE_URL") or f"http://127.0.0.1:{environ.get('PORT') or Settings().port}"
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"{name} takes a URL that begins with http:// or https://")
        return cls(url=url.rstrip("/"), api_key=environ.get("JOBGATE_API_KEY", ""))


VARIABLES = {
    "host": "HOST",
    "port": "PORT",
    "use_celery": "USE_CELERY",
    "executor": "JOBGATE_EXECUTOR",
    "database_url": "DATABASE_URL",
    "database_name": "CELERY_DATABASE_NAME",
    "sqlite_synchronous": "JOBGATE_SQLITE_SYNCHRONOUS",
    "broker_url": "CELERY_BROKER_URL",
    "task_modules": "TASK_MODULES",
    "packs": "JOBGATE_PACKS",
    "packs_database_url": "JOBGATE_PACKS_DATABASE_URL",
    "api_keys": "JOBGATE_API_KEYS",
    "allowed_hosts": "JOBGATE_ALLOWED_HOSTS",
    "metrics_public": "JOBGATE_METRICS_PUBLIC",
    "behind_tls": "JOBGATE_BEHIND_TLS",
    "adopt": "JOBGATE_ADOPT",
    "remote_control": "JOBGATE_REMOTE_CONTROL",
    "queues": "JOBGATE_QUEUES",
    "timezone": "CELERY_TIMEZONE",
    "threads": "JOBGATE_THREADS",
    "celery_concurrency": "CELERY_CONCURRENCY",
    "celery_pool": "CELERY_POOL",
    "celery_max_tasks_per_child": "CELERY_WORKER_MAX_TASKS_PER_CHILD",
    "soft_time_limit": "CELERY_TASK_SOFT_TIME_LIMIT",
    "time_limit": "CELERY_TASK_TIME_LIMIT",
    "result_expires": "RESULT_EXPIRES",
    "job_retention": "JOBGATE_JOB_RETENTION",
    "result_max_bytes": "JOBGATE_RESULT_MAX_BYTES",
    "unknown_task_patience": "JOBGATE_UNKNOWN_TASK_PATIENCE",
    "lease": "JOBGATE_LEASE",
    "cancel_grace": "JOBGATE_CANCEL_GRACE",
    "drain_timeout": "JOBGATE_DRAIN_TIMEOUT",
    "broker_silence": "JOBGATE_BROKER_SILENCE",
    "worker_silence": "JOBGATE_WORKER_SILENCE",
    "canary_silence": "JOBGATE_CANARY_SILENCE",
    "log_level": "LOG_LEVEL",
    "log_format": "JOBGATE_LOG_FORMAT",
}
#: Those of `CallerSettings`, which the processes leave alone.
CALLER_VARIABLES = {"url": "JOBGATE_URL", "api_key": "JOBGATE_API_KEY"}
#: What is read where the variable itself is not set.
_FALLBACKS = {"CELERY_BROKER_URL": "REDIS_URL"}
#: Celery itself looks at these, wherever it is loaded.
_READ_BY_CELERY = {"CELERY_RESULT_BACKEND", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"}
_BROKERS = ("redis", "rediss", "redis+socket", "amqp", "amqps")


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can only be reached from this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def place_of(broker_url: str) -> str:
    """The broker without its credentials and options, written in one way: `redis://host:6379/0`."""
    url = urlsplit(broker_url)
    port = url.port or {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}.get(url.scheme)
    path = (
        url.path
        if url.scheme == "redis+socket"
        else f"/{url.path.strip('/') or ('0' if 'redis' in url.scheme else '')}"
    )
    return f"{url.scheme}://{url.hostname or ''}{f':{port}' if port and url.hostname else ''}{path}"


def inherited(environ: Mapping[str, str] = os.environ, **more: str) -> dict[str, str]:
    """What a process that we start is given: all that this one was given, and `more`."""
    return {**environ, **more}


def source_of(variable: str, environ: Mapping[str, str] = os.environ) -> str:
    """Where the value of a setting comes from: "environment", "file", the variable read in its stead, or "default"."""
    other = _FALLBACKS.get(variable, "")
    if environ.get(variable):
        return "environment"
    return "file" if environ.get(variable + SUFFIX) else other if environ.get(other) else "default"


def _set(environ: Mapping[str, str]) -> dict[str, str]:
    return {variable: text for variable, text in environ.items() if text}


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {*VARIABLES.values(), *CALLER_VARIABLES.values(), *(name + SUFFIX for name in SECRETS)}
    for variable in environ:
        if variable.startswith("JOBGATE_") and variable not in known:
            ours = ", ".join(sorted(name for name in known if name.startswith("JOBGATE_")))
            raise ConfigurationError(f"{variable} is not a setting; those that are: {ours}")


def _check_queues(text: str) -> None:
    if text and not all(any(map(str.strip, group.split(","))) for group in text.split(">")):
        raise ConfigurationError(f"JOBGATE_QUEUES={text!r} names no queue beside a '>': write it between two names")


def _check_limits(settings: Settings, environ: Mapping[str, str]) -> None:
    """A soft limit that was set must come first; that of a default gives way to the other silently."""
    soft, hard = VARIABLES["soft_time_limit"], VARIABLES["time_limit"]
    if environ.get(soft) and environ.get(hard) and settings.soft_time_limit >= settings.time_limit:
        raise ConfigurationError(
            f"{soft}={environ[soft]} must be less than {hard}={environ[hard]}: "
            "no job would be asked to stop before it is ended"
        )


def _check_zone(name: str) -> None:
    try:
        zone(name)
    except ValueError as error:
        raise ConfigurationError(f"CELERY_TIMEZONE: {error}") from None


def _apart(settings: Settings) -> Settings:
    """With the record in the database of CELERY_DATABASE_NAME, and the packs' tables where they would be without it."""
    url, name = parse_url(settings.database_url), settings.database_name
    if url.get_backend_name() == "sqlite":
        file = PurePath(str(url.database))
        name = str(file.with_name(name + file.suffix))
    own = url.set(database=name).render_as_string(hide_password=False)
    return msgspec.structs.replace(settings, database_url=own, packs_database_url=settings.packs_url)


def _unread(environ: Mapping[str, str]) -> tuple[str, ...]:
    known = {*VARIABLES.values(), *_READ_BY_CELERY}
    return tuple(sorted(name for name in environ if name.startswith("CELERY_") and name not in known))


def _verifying(broker_url: str) -> str:
    """The URL with `ssl_cert_reqs=required` where a rediss:// URL says nothing: kombu checks no certificate then."""
    url = urlsplit(broker_url)
    if url.scheme != "rediss" or "ssl_cert_reqs=" in url.query:
        return broker_url
    return f"{broker_url}{'&' if url.query else '?'}ssl_cert_reqs=required"


def _check_broker(url: str, variable: str) -> None:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _BROKERS:
        takes = ", ".join(f"{name}://" for name in _BROKERS)
        # Only what stands before :// is shown: the rest may hold a password.
        raise ConfigurationError(f"{variable} takes a URL that begins with {takes}; got {scheme[:20]!r}")
    try:
        place_of(url)
    except ValueError:
        raise ConfigurationError(f"{variable}: the host or port in it is none") from None
