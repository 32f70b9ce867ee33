"""A files root of one's own, and contexts that remember what was reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.packs import files
from tests.packs.support import SAMPLES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty root that the pack is configured with."""
    folder = tmp_path / "root"
    folder.mkdir()
    files.configure(folder)
    return folder


@pytest.fixture
def samples() -> Path:
    """The samples' own folder as the root; nothing may be written there."""
    files.configure(SAMPLES)
    return SAMPLES


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file beside the root that must never be read."""
    path = tmp_path / "secret.txt"
    path.write_text("outside the root")
    return path
