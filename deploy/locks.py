"""Proves that each lock is complete: `python -m deploy.locks`. It asks no registry.

Locks are installed without resolving, so a requirement that a lock leaves out would be missing at run time. The check
starts with what pyproject.toml asks for and follows the metadata of the installed packages, extras and markers
included, for several systems and Python versions. It exits 1 when a lock lacks a package, or has one that does not fit.
"""

import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import NamedTuple

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

#: The extras of this project that each lock holds.
_LIGHT = ("files", "knowledge", "mail", "postgres", "stack")
LOCKS = {
    "requirements.txt": _LIGHT,
    "requirements-podcast.txt": (*_LIGHT, "podcast"),
    "requirements-dev.txt": (*_LIGHT, "podcast", "dev"),
}

#: For each the markers are evaluated: 3.11.2 is Debian's, and older than a backport of 3.11.3.
PYTHONS = ("3.11.2", "3.11.7", "3.12.0", "3.14.0")
SYSTEMS = {"linux": "Linux", "darwin": "Darwin"}

Environment = dict[str, str]


class Need(NamedTuple):
    """A requirement, and the package whose metadata states it."""

    requirement: Requirement
    source: str


def environments() -> Iterator[Environment]:
    """The marker environments that a lock must serve."""
    for python in PYTHONS:
        for platform, system in SYSTEMS.items():
            yield {
                **{name: str(value) for name, value in default_environment().items()},
                "python_full_version": python,
                "python_version": python.rpartition(".")[0],
                "sys_platform": platform,
                "platform_system": system,
            }


def applies(requirement: Requirement, environment: Environment, extras: frozenset[str]) -> bool:
    """Whether the requirement holds there for a package that was asked for with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in extras or {""})


def read_lock(path: Path) -> list[Requirement]:
    """The pinned packages of a lock, with their markers."""
    lines = path.read_text().splitlines()
    return [Requirement(line.removesuffix("\\").strip()) for line in lines if "==" in line and "--hash" not in line]


def roots(project: dict[str, object], extras: Sequence[str]) -> list[Need]:
    """What the `project` table of pyproject.toml asks for, with these of its optional dependencies."""
    optional = project["optional-dependencies"]
    assert isinstance(optional, dict)
    texts = [*_strings(project["dependencies"]), *(text for extra in extras for text in _strings(optional[extra]))]
    return [Need(Requirement(text), "pyproject.toml") for text in texts]


def faults(lock: Sequence[Requirement], asked: Sequence[Need], environment: Environment) -> Iterator[str]:
    """What the lock lacks in this environment, one sentence each."""
    pinned = {canonicalize_name(r.name): r for r in lock if applies(r, environment, frozenset())}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [need for need in asked if applies(need.requirement, environment, frozenset())]
    while queue:
        wanted, source = queue.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        pin = pinned.get(name)
        if pin is None:
            yield f"{wanted} is missing; {source} requires it"
        elif not wanted.specifier.contains(version_of(pin), prereleases=True):
            yield f"{name} is locked at {version_of(pin)}; {source} requires {wanted}"
        elif (name, extras) not in seen:
            seen.add((name, extras))
            queue.extend(n for n in needs_of(name) if applies(n.requirement, environment, extras))


def needs_of(name: str) -> list[Need]:
    """What an installed package requires; nothing of a package that this system does not install."""
    try:
        return [Need(Requirement(text), name) for text in requires(name) or ()]
    except PackageNotFoundError:
        return []


def version_of(pin: Requirement) -> str:
    """The version of a pin, which has one specifier."""
    return next(iter(pin.specifier)).version


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, None] = {}
    for name, extras in LOCKS.items():
        lock, asked = read_lock(ROOT / name), roots(project, extras)
        for environment in environments():
            found.update(dict.fromkeys(f"{name}: {fault}" for fault in faults(lock, asked, environment)))
    print("\n".join(found) or f"locks: {len(LOCKS)} are complete")
    return 1 if found else 0


def _strings(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]


if __name__ == "__main__":
    sys.exit(main())
