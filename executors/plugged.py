"""Executors that an installed package brings, under the entry point group `jobgate.executors`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from msgspec import Struct

from executors.base import Executor
from executors.keeper import Claimer
from executors.runner import Runner
from executors.settings import Settings
from tasks.errors import ConfigurationError
from tasks.store.store import JobStore

GROUP = "jobgate.executors"


class Parts(Struct, frozen=True, kw_only=True):
    """What an executor is made from: claim from `store` as `claimer` for `queues` (an earlier group strictly before a
    later one), perform with `runner`, settle in `store`."""

    store: JobStore
    runner: Runner
    claimer: Claimer
    queues: Sequence[Sequence[str]]
    settings: Settings


def make(name: str, parts: Parts) -> Executor:
    """The executor of that name: its entry point is a function of Parts. ConfigurationError if there is none."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise ConfigurationError(f"JOBGATE_EXECUTOR={name!r}: no installed package brings it; those brought: {known}")
    try:
        factory = found[name].load()
    except Exception as error:  # a package may fail in any way while it is imported
        raise ConfigurationError(
            f"JOBGATE_EXECUTOR={name!r}: {found[name].value} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    executor: Executor = factory(parts)
    return executor
