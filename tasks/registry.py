"""Which tasks a process knows: a dictionary filled from modules, nothing global."""

from __future__ import annotations

import difflib
import importlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from tasks.address import Address
from tasks.errors import ConfigurationError, UnknownTask
from tasks.pack import Pack
from tasks.task import Task

#: A package that brings tasks may name its modules under this entry point group.
ENTRY_POINTS = "jobgate.tasks"
#: Packages of the product at the top level: no module of a user's can have one of these names.
OWN = frozenset({"executors", "gateway", "metrics", "tasks"})

T = TypeVar("T")


class Registry:
    """Tasks by name, and what packs bring beside them."""

    def __init__(self, tasks: Iterable[Task[..., Any]] = ()) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}
        self.packs: list[Pack[Any]] = []
        self.addresses: list[Address] = []
        for task in tasks:
            self.add(task)

    def __iter__(self) -> Iterator[Task[..., Any]]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def replace(self, other: Registry) -> None:
        """Know the tasks of `other`, and no others."""
        self._tasks, self.packs, self.addresses = other._tasks, other.packs, other.addresses

    def add(self, task: Task[..., Any]) -> None:
        known = self._tasks.setdefault(task.name, task)
        if known is not task:
            raise ConfigurationError(
                f"two tasks are named {task.name!r}: {_where(known)} and {_where(task)}; rename one of them"
            )

    def find(self, name: str) -> Task[..., Any] | None:
        return self._tasks.get(name)

    def by_path(self, path: str) -> str:
        """The name of the task with this name or import path, also where its function was in another project.

        `src.apps.auth.tasks.cleanup_expired_sessions_task` is the task `auth.cleanup_expired_sessions`: the name's last
        part ends the path, with or without `_task`, and its other parts stand before it. Returns `path` itself if no
        task fits. Raises UnknownTask if several do.
        """
        if path in self._tasks:
            return path
        here = next((task.name for task in self if _where(task) == path), None)
        if here is not None:
            return here
        fitting = [name for name in self._tasks if _fits(name, path)]
        if len(fitting) > 1:
            raise UnknownTask(f"{path!r} may be each of {', '.join(sorted(fitting))}: give one of these names", "/task")
        return fitting[0] if fitting else path

    def get(self, name: str) -> Task[..., Any]:
        """The task, or UnknownTask with the nearest names."""
        task = self._tasks.get(name)
        if task is None:
            near = difflib.get_close_matches(name, self._tasks, n=3) or self._near_by_last_part(name)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; GET /api/v1/tasks lists those that are"
            raise UnknownTask(f"no task {name!r} is registered{hint}", "/task")
        return task

    def _near_by_last_part(self, name: str) -> list[str]:
        """The tasks whose name ends like `name`, which may be a path of another project."""
        lasts = {task.rpartition(".")[2]: task for task in self._tasks}
        leaf = name.rpartition(".")[2].removesuffix("_task")
        return [lasts[each] for each in difflib.get_close_matches(leaf, lasts, n=3)]


def load(modules: Iterable[str]) -> Registry:
    """The tasks, packs and addresses that are module-level names in `modules` and in those of installed packages.

    Raises ConfigurationError for a module that cannot be imported, with the reason.
    """
    plugged = [point.value for point in entry_points(group=ENTRY_POINTS)]
    registry = Registry()
    for name in [*modules, *plugged]:
        module = _import(name)
        for task in _held(module, Task):
            registry.add(task)
        registry.packs.extend(_held(module, Pack))
        registry.addresses.extend(_held(module, Address))
    return registry


def load_anew(modules: Sequence[str]) -> Registry:
    """`load`, from the modules' files as they are now; what lies under a module is read again as well.

    When one of them cannot be imported, all are as they were.
    """
    old = {name: module for name, module in sys.modules.items() if _lies_under(name, modules)}
    for name in old:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        return load(modules)
    except ConfigurationError:
        for name in [name for name in sys.modules if _lies_under(name, modules)]:
            del sys.modules[name]
        sys.modules.update(old)
        raise


def _lies_under(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _import(name: str) -> ModuleType:
    _see_working_folder()
    try:
        module = importlib.import_module(name)
    except ConfigurationError:
        raise
    except Exception as error:
        hint = _searched() if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0] else ""
        words = f"TASK_MODULES: cannot import {name!r}: {type(error).__name__}: {error}{hint}"
        raise ConfigurationError(words) from error
    if name in OWN:
        raise ConfigurationError(
            f"TASK_MODULES: {name!r} is Jobgate's own package ({module.__file__}), which hides a {name}.py of yours: "
            f"rename that, or put it into a package, as shop/{name}.py with TASK_MODULES=shop.{name}"
        )
    return module


def _see_working_folder() -> None:
    """Modules of the folder that a process was started in are found, after those of every installed package.

    Before them, a file such as typer.py there would run in the place of the package, for whoever types a command.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)


def _searched() -> str:
    installed = {Path(path) for path in (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix)}
    folders = [path for path in sys.path if path and not any(Path(path).is_relative_to(each) for each in installed)]
    return (
        f". Searched: installed packages, and {', '.join(dict.fromkeys(folders))}. Start in the folder that holds it, "
        "or name that in PYTHONPATH"
    )


def _held(module: ModuleType, kind: type[T]) -> Iterator[T]:
    return (value for value in vars(module).values() if isinstance(value, kind))


def _fits(name: str, path: str) -> bool:
    """Whether a task of this name may be the function at `path` of another project."""
    *outer, last = name.split(".")
    *folders, leaf = path.split(".")
    before = iter(folders)
    return bool(folders) and last in {leaf, leaf.removesuffix("_task")} and all(part in before for part in outer)


def _where(task: Task[..., Any]) -> str:
    return f"{task.function.__module__}.{task.function.__qualname__}"
