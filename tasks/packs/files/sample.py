"""The documents that come with the pack, so that a first run has something to look at."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from tasks.errors import ConfigurationError


def make(root: Path) -> None:
    """Makes the files root. Of an absolute path only the last folder is made: the others must exist."""
    try:
        root.mkdir(parents=not root.is_absolute(), exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"FILES_ROOT: {root} cannot be made: {error.strerror}") from error


def fill(root: Path) -> list[str]:
    """Makes `root` and copies the samples into it, unless it holds something already; the names that were copied."""
    make(root)
    if any(root.iterdir()):
        return []
    with resources.as_file(resources.files("tasks.packs.files") / "samples") as samples:
        return [name for name in sorted(path.name for path in samples.iterdir()) if _copy(samples / name, root / name)]


def _copy(source: Path, target: Path) -> bool:
    try:
        with source.open("rb") as original, target.open("xb") as copy:
            shutil.copyfileobj(original, copy)
    except FileExistsError:  # another process fills the same root
        return False
    return True
