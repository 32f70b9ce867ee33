"""The stack of the working directory, as other commands meet it: they use its broker unless they are told otherwise."""

from __future__ import annotations

from pathlib import Path

from executors.settings import Settings, inherited, source_of
from gateway.cli import own_redis

#: Where `jobgate stack` and `make stack` keep the broker's socket, the logs and the process ids.
FOLDER = Path("var/stack")


def environment(folder: Path = FOLDER) -> dict[str, str]:
    """The environment of this process, in Celery mode on the stack's own broker where one answers in `folder`.

    Variables that are set stay as they are.
    """
    given = inherited()
    if source_of("CELERY_BROKER_URL", given) != "default" or not own_redis.answers(folder):
        return given
    return {**given, "USE_CELERY": given.get("USE_CELERY") or "1", "CELERY_BROKER_URL": own_redis.url(folder)}


def settings() -> Settings:
    """The settings that a process started here would have."""
    return Settings.from_env(environment())
