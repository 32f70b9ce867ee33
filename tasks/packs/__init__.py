"""Themes of tasks that ship with the product; each is named in JOBGATE_PACKS and imports nothing until it is."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Iterable

from tasks.errors import ConfigurationError

#: The packs that together do what one of the five systems did; its letter may stand for them.
SYSTEMS = {
    "A": ("citations",),
    "B": ("backoffice",),
    "C": ("assistant", "knowledge"),
    "D": ("files", "knowledge", "mail", "credits", "api", "stats"),
    "E": ("podcast",),
}


def names_of(wanted: Iterable[str]) -> list[str]:
    """The packs that names and letters of systems stand for. Raises ConfigurationError for one that is not there."""
    there = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = [name for word in wanted for name in SYSTEMS.get(word.upper(), (word,))]
    for name in found:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"JOBGATE_PACKS: there is no pack {name!r}, only {', '.join(there)}{meant}")
    return list(dict.fromkeys(found))


def modules_of(wanted: Iterable[str]) -> list[str]:
    """The modules of those packs, by the names that TASK_MODULES takes."""
    return [f"{__name__}.{name}" for name in names_of(wanted)]
