"""The documents that come with the pack, so that a first run has something to look at."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path


def fill(root: Path) -> list[str]:
    """Make `root` and copy the samples into it, unless it holds something already; the names that were copied."""
    root.mkdir(parents=True, exist_ok=True)
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
