"""The text of an HTML page, from its tags as they come.

No tree is built: a tree of a hostile page is a bomb. Half a megabyte of nested `<div>` keeps lexbor busy for 40
seconds, and thousands of open `<b>` are copied into every paragraph, as the standard demands. Here every pattern moves
forward only (possessive), so that the time is that of reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from itertools import islice

from tasks.packs.files.content import MAX_CHARACTERS, Content, Watch
from tasks.packs.files.encoding import decode

# The rest of a tag. A quote means something only after an equals sign; what never ends, ends with the file.
_REST = r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')|=)*+(?:>|\Z)"""
_UNSEEN = "script|style|template|noscript|noembed|noframes|iframe|svg|math|object|select|xmp"
_TOKEN = re.compile(
    rf"""<!--(?:-?>|.*?(?:--!?>|\Z))
    |<(?P<unseen>{_UNSEEN})(?=[\s/>]){_REST}.*?(?:</(?P=unseen)(?=[\s/>])[^>]*+>|\Z)
    |<title(?=[\s/>]){_REST}(?P<title>.*?)(?:</title(?=[\s/>])[^>]*+>|\Z)
    |<(?P<end>/?)(?P<tag>[a-z][^\s/>]*+){_REST}
    |<[!?/][^>]*+(?:>|\Z)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_LINES = frozenset({"br", "li", "tr", "dt", "dd", "option", "figcaption", "caption", "summary", "legend"})
_PARAGRAPHS = frozenset(
    {
        *("p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "blockquote", "pre", "hr", "body"),
        *("section", "article", "aside", "header", "footer", "main", "nav", "address", "form", "fieldset", "figure"),
    }
)
#: A table's cells are words of their own.
_CELLS = frozenset({"td", "th"})

_DECLARED = re.compile(rb"(?:<meta[^>]{0,500}?charset|<\?xml[^>]{0,200}?encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I)
#: Bytes at the start in which a page must say its encoding.
_HEAD = 4096
#: Tokens between two looks at whether the job is to stop.
_STRIDE = 5000


def read(data: bytes, watch: Watch) -> Content:
    declared = _DECLARED.search(data[:_HEAD])
    html, encoding = decode(data, declared[1].decode("ascii", "replace") if declared else None)
    text, truncated = _text(html, watch)
    title = next((match["title"] for match in islice(_TOKEN.finditer(html), 1000) if match["title"]), None)
    return Content(text=text, title=title and unescape(title), encoding=encoding, truncated=truncated)


def _text(html: str, watch: Watch) -> tuple[str, bool]:
    """What a reader of the page sees, and whether there is more of it than is taken."""
    pieces: list[str] = []
    size = 0
    for piece in _pieces(html, watch):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_CHARACTERS:
            break
    lines = (" ".join(line.split()) for line in "".join(pieces).split("\n"))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return text[:MAX_CHARACTERS], size > MAX_CHARACTERS


def _pieces(html: str, watch: Watch) -> Iterator[str]:
    position = 0
    verbatim = False
    for number, token in enumerate(_TOKEN.finditer(html)):
        if number % _STRIDE == 0:
            watch(position / len(html))
        if token.start() > position:
            yield _words(html[position : token.start()], verbatim)
        tag = (token["tag"] or "").lower()
        if space := _space(tag):
            yield space
        if tag == "pre":
            verbatim = not token["end"]
        position = token.end()
    yield _words(html[position:], verbatim)


def _words(text: str, verbatim: bool) -> str:
    text = unescape(text)
    return text if verbatim else re.sub(r"\s+", " ", text)


def _space(tag: str) -> str:
    """What stands in the text where `tag` begins or ends."""
    if tag in _PARAGRAPHS:
        return "\n\n"
    if tag in _LINES:
        return "\n"
    return " " if tag in _CELLS else ""
