"""Where the audio lies: a folder a run, whose files appear when they are complete. May block: call it in a thread."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

#: Media types of the files, by the end of their names.
KINDS = {"wav": "audio/wav", "mp3": "audio/mpeg"}


class Draft(Struct, frozen=True):
    """Files that nobody sees yet."""

    wav: Path
    mp3: Path


def audio(root: Path, run_id: str, kind: str) -> Path:
    return root / run_id / f"episode.{kind}"


@contextmanager
def draft(root: Path, run_id: str, attempt: int) -> Iterator[Draft]:
    """Files of an attempt's own; gone in the end unless `publish` took them. What earlier attempts left goes too."""
    folder = root / run_id
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.draft"):
        if int(left.name.split(".")[1]) <= attempt:
            left.unlink(missing_ok=True)
    drafts = Draft(*(folder / f".{attempt}.{kind}.draft" for kind in KINDS))
    try:
        yield drafts
    finally:
        drafts.wav.unlink(missing_ok=True)
        drafts.mp3.unlink(missing_ok=True)


def publish(root: Path, run_id: str, drafts: Draft) -> None:
    """Let the files appear, each whole, in place of what an earlier attempt made."""
    for kind, path in zip(KINDS, (drafts.wav, drafts.mp3), strict=True):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(audio(root, run_id, kind))


def clear(root: Path, run_id: str) -> None:
    """Remove what a run left on the disk."""
    shutil.rmtree(root / run_id, ignore_errors=True)
