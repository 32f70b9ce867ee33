"""A file under the files root, read into memory."""

from __future__ import annotations

from typing import Any

from tasks import Context, FatalError
from tasks.packs.files import folder, library
from tasks.packs.files.content import Content
from tasks.packs.knowledge.source import Text

#: Bytes of the largest file that is taken; it is held in memory.
MAX_BYTES = 64 << 20


def data_of(context: Context, path: str) -> bytes:
    """The file's bytes. Raises FatalError for one that is missing, too large or no file."""
    with folder.opened(path) as file:
        _refuse_size(path, folder.size(file))
        data = bytearray()
        for chunk in folder.chunks(file, context.check):
            data += chunk
            # Once more, because a file can grow while it is read.
            _refuse_size(path, len(data))
    return bytes(data)


def content_of(context: Context, path: str) -> tuple[str, Content]:
    """The file's MIME type and its text. Raises FatalError, also for what no reader can read."""
    context.progress(0, 100, f"reading {path}")
    inspection: Any = library.load("inspection")
    found: tuple[str, Content] = inspection.read(path, data_of(context, path), context)
    return found


def text_of(context: Context, path: str) -> Text:
    """For the knowledge pack: the file's text and title."""
    _, content = content_of(context, path)
    return Text(content.text, content.title)


def _refuse_size(path: str, size: int) -> None:
    if size > MAX_BYTES:
        raise FatalError(f"{path!r} has {size} bytes; at most {MAX_BYTES} are analysed")
