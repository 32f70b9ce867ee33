"""Tasks on real files under one root: `tasks.file.analyze_file` and `tasks.file.export_file`.

The parsers are not imported here: a gateway that only accepts jobs does without them, and without their memory.
"""

from pathlib import Path

from msgspec import Struct

from tasks.pack import Pack
from tasks.packs.files.analysis import analyze_file
from tasks.packs.files.export import export_file
from tasks.packs.files.folder import configure
from tasks.packs.files.sample import fill


class Settings(Struct, frozen=True, kw_only=True):
    """`files_root`: what file tasks may read and write."""

    files_root: str = "var/files"


FILES = Pack(
    "files",
    Settings,
    told=lambda settings: configure(Path(settings.files_root)),
    prepare=lambda settings: fill(Path(settings.files_root)),
)

__all__ = ["FILES", "analyze_file", "configure", "export_file", "fill"]
