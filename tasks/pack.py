"""The pack: a theme of tasks with settings, tables and addresses of its own; a value that its module holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from tasks.errors import ConfigurationError
from tasks.smoke import Smoke

S = TypeVar("S", bound=Struct)


class Tables(Protocol):
    """The tables of a pack; `tasks.database.Database` is one."""

    def configure(self, url: str) -> None:
        """Be told where they are: `sqlite:///…` or `postgresql://…`."""

    async def missing(self) -> list[str]:
        """The names of those that are not there. Raises StoreUnavailable."""

    async def create(self) -> None:
        """Make those that are not there."""

    async def close(self) -> None:
        """Let go of what belongs to the running loop."""


class NoSettings(Struct, frozen=True):
    """For a pack that has none."""


class Pack(Generic[S]):
    """What a pack brings beside its tasks.

    `settings` is a frozen Struct with a default for each field; the environment variable of `smtp_host` is SMTP_HOST, a
    tuple is a list with commas. `database` are its tables. `told` is called with the settings in every process,
    `prepare` once when a gateway starts. `smoke` shows that it works, in sentences, and raises SmokeFailed.
    """

    def __init__(
        self,
        name: str,
        settings: type[S],
        *,
        database: Tables | None = None,
        told: Callable[[S], None] | None = None,
        prepare: Callable[[S], object] | None = None,
        smoke: Callable[[Smoke], Iterator[str]] | None = None,
    ) -> None:
        self.name = name
        self.kind = settings
        self.database = database
        self.smoke = smoke
        self._told = told
        self._prepare = prepare
        self._settings: S | None = None

    def __repr__(self) -> str:
        return f"<pack {self.name}>"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variable of each setting."""
        return {name: name.upper() for name in self.kind.__struct_fields__}

    @property
    def settings(self) -> S:
        """As this process was told. ConfigurationError in a process that was told nothing."""
        if self._settings is None:
            raise ConfigurationError(f"the pack {self.name} was not configured: name it in JOBGATE_PACKS")
        return self._settings

    def configure(self, settings: S) -> None:
        """Be told the settings of this process."""
        self._settings = settings
        if self._told is not None:
            self._told(settings)

    def prepare(self) -> None:
        """Make what a gateway's start is to find."""
        if self._prepare is not None:
            self._prepare(self.settings)

    def lacks(self, *fields: str) -> str:
        """For `@task(needs=…)`: the sentence that names the settings among `fields` that are empty, or "".

        Without fields it says whether the pack is switched on at all: for tasks of another pack that use it.
        """
        if self._settings is None:
            return f"name the pack {self.name} in JOBGATE_PACKS"
        empty = [self.variables[field] for field in fields if not getattr(self.settings, field)]
        return f"set {' and '.join(empty)} for the pack {self.name}" if empty else ""


def not_installed(extra: str, *modules: str) -> str:
    """For `@task(needs=…)`: the sentence that says which extra brings the modules that are not installed, or ""."""
    gone = [module for module in modules if find_spec(module) is None]
    return f"{' and '.join(gone)} is not installed: install jobgate[{extra}]" if gone else ""
