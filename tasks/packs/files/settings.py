"""The pack, and what a deployment says to it."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from tasks.errors import ConfigurationError
from tasks.pack import Pack
from tasks.packs.files import folder, reading, sample
from tasks.packs.files.smoke import smoke
from tasks.packs.knowledge import read_with


class Settings(Struct, frozen=True, kw_only=True):
    """`files_root`: what file tasks may read and write; `upload_roots`: folders that `bulk_upload` may take from.

    `files_samples`: whether a gateway that starts puts the sample documents into an empty files root.
    """

    files_root: str = "var/files"
    files_samples: bool = False
    upload_roots: tuple[str, ...] = ()


def _told(settings: Settings) -> None:
    root = Path(settings.files_root).absolute()
    for source in settings.upload_roots:
        if root.is_relative_to(Path(source).absolute()):
            raise ConfigurationError(f"UPLOAD_ROOTS: {source!r} holds the files root {root}: it would take in itself")
    folder.configure(root)
    # Documents of the knowledge pack may name a file: this is who reads it.
    read_with(reading.text_of)


def _prepare(settings: Settings) -> None:
    root = Path(settings.files_root)
    sample.make(root)
    if settings.files_samples:
        sample.fill(root)


FILES = Pack("files", Settings, told=_told, prepare=_prepare, smoke=smoke)


def upload_roots() -> list[Path]:
    """The folders that uploads may come from."""
    return [Path(root).absolute() for root in FILES.settings.upload_roots]
