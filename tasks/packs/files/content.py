"""What a reader finds in a file, and what the analysis of a file tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

#: Characters of text that are looked at; what lies beyond is not counted, and the result says so.
MAX_CHARACTERS = 5_000_000

#: Takes how far a reader is, from 0 to 1; raises when the job is to stop.
Watch = Callable[[float], None]


class Content(Struct, frozen=True, kw_only=True):
    """The text of a file. Paragraphs are parted by blank lines, unless the format does not know them.

    `truncated` says that the text goes on beyond MAX_CHARACTERS.
    """

    text: str
    title: str | None = None
    pages: int | None = None
    encoding: str | None = None
    has_paragraphs: bool = True
    truncated: bool = False


class Reader(Protocol):
    """Gets the text out of one kind of file.

    Raises FatalError for a file that it refuses; whatever else it raises means that the file is damaged.
    """

    def __call__(self, data: bytes, watch: Watch) -> Content: ...


class Keyword(Struct, frozen=True):
    """A word and how often it occurs."""

    word: str
    count: int


class Analysis(Struct, frozen=True, kw_only=True):
    """The result of `tasks.file.analyze_file`.

    `type` is a MIME type, `size` bytes, `sha256` hexadecimal, `encoding` a WHATWG name (None where the format is not
    plain text), `language` an ISO 639 code (None where the text is too short to tell). `lines` are those with text on
    them; every CJK character counts as a word. `truncated`: the counts end after MAX_CHARACTERS.
    """

    path: str
    type: str
    size: int
    sha256: str
    encoding: str | None
    language: str | None
    title: str | None
    pages: int | None
    characters: int
    words: int
    lines: int
    sentences: int
    paragraphs: int | None
    keywords: list[Keyword]
    excerpt: str
    truncated: bool
