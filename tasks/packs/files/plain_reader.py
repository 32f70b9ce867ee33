"""The text of a plain text file."""

from __future__ import annotations

from tasks.packs.files.content import MAX_CHARACTERS, Content, Watch
from tasks.packs.files.encoding import decode


def read(data: bytes, watch: Watch) -> Content:
    text, encoding = decode(data)
    return Content(text=text[:MAX_CHARACTERS], encoding=encoding, truncated=len(text) > MAX_CHARACTERS)
