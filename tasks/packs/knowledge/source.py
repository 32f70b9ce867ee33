"""Where the text of a file comes from: the pack that can read files says so, and this one asks it.

So the pack `files` knows this one, and this one knows no other.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tasks import Context, FatalError


class Text(Struct, frozen=True):
    """What stands in a file."""

    text: str
    title: str | None = None


#: Takes the job's context and a path under the files root; raises FatalError for a file that cannot be read.
Reader = Callable[[Context, str], Text]


class _Known:
    """The process's reader."""

    reader: Reader | None = None


def read_with(reader: Reader) -> None:
    """Make `reader` the one that reads files for documents that name a path."""
    _Known.reader = reader


def read(context: Context, path: str) -> Text:
    """The text of a file. Keeps a core busy: call it in a thread. Raises FatalError."""
    if _Known.reader is None:
        raise FatalError(f"{path!r}: no pack here reads files: name the pack files in JOBGATE_PACKS, or give the text")
    return _Known.reader(context, path)
