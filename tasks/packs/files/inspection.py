"""From the bytes of a file to its analysis. Imports parsers: load it through the library."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import structs

from tasks import Context, FatalError
from tasks.errors import JobgateError, printable
from tasks.packs.files import kind as kinds
from tasks.packs.files.content import Analysis, Content, Reader
from tasks.packs.files.figure import figures
from tasks.packs.files.keyword_count import keywords
from tasks.packs.files.language import language
from tasks.packs.files.library import load

_READERS: Final = {
    kinds.EMPTY: "plain_reader",
    kinds.TEXT: "plain_reader",
    kinds.XML: "plain_reader",
    kinds.HTML: "html_reader",
    kinds.XHTML: "html_reader",
    kinds.PDF: "pdf_reader",
    kinds.DOCX: "docx_reader",
}
#: Characters of the excerpt and of the title.
_EXCERPT = 240
_TITLE = 300
#: Office files with a password are a container of this name, in UTF-16.
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def inspect(path: str, data: bytes, context: Context) -> Analysis:
    """The analysis of the file `path` with the content `data`; FatalError if it cannot be read."""
    kind, content = read(path, data, context)
    context.progress(80, 100, "counting")
    tongue = language(content.text)
    counts = figures(content.text)
    context.progress(90, 100, "looking for keywords")
    return Analysis(
        path=path,
        type=kind,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        encoding=content.encoding,
        language=tongue,
        title=content.title,
        pages=content.pages,
        characters=len(content.text),
        words=counts.words,
        lines=counts.lines,
        sentences=counts.sentences,
        paragraphs=counts.paragraphs if content.has_paragraphs else None,
        keywords=keywords(content.text, tongue),
        excerpt=_line(content.text, _EXCERPT),
        truncated=content.truncated,
    )


def read(path: str, data: bytes, context: Context) -> tuple[str, Content]:
    """The MIME type of the file `path` with the content `data`, and its text; FatalError if it cannot be read."""
    kind = kinds.kind(data)
    if kind not in _READERS:
        raise FatalError(_refusal(path, kind, data))
    reader: Reader = load(_READERS[kind]).read

    def watch(share: float) -> None:
        context.progress(round(10 + 70 * share), 100, "reading the text")

    with _damage_explained(path, context):
        found = reader(data, watch)
        return kind, structs.replace(found, title=_line(found.title or "", _TITLE) or None)


def _refusal(path: str, kind: str, data: bytes) -> str:
    if _ENCRYPTED in data:
        return f"{path!r} is encrypted: save it without a password first"
    if kind == kinds.UNKNOWN:
        return f"{path!r} is of no known kind: PDF, DOCX, HTML and text files are analysed"
    return f"{path!r} is {kind}: PDF, DOCX, HTML and text files are analysed"


@contextmanager
def _damage_explained(path: str, context: Context) -> Iterator[None]:
    """Whatever a parser raises on bytes in memory says that they are damaged, unless it is one of our own words."""
    try:
        yield
    except FatalError as error:
        raise FatalError(f"{path!r}: {error.detail}") from error
    except (JobgateError, OSError, MemoryError):
        raise
    except Exception as error:
        # A stop may have been raised inside a parser, and come out as something else.
        context.check()
        words = printable(error, 200) or type(error).__name__
        raise FatalError(f"{path!r} is damaged: it cannot be read to its end ({words})") from error


def _line(text: str, limit: int) -> str:
    """The beginning of `text` on one line, at most `limit` characters."""
    return printable(" ".join(text[: limit * 10].split()), limit)
