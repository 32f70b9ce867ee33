"""A text cut into passages that a model can take in: where paragraphs and sentences end, in English and in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: The weight of a passage at most. A Chinese or Japanese character says as much as three letters.
LONGEST = 480
_DENSE_WEIGHT = 3

_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_CLOSING = "\"'”’»)\\]」』）】》"  # noqa: RUF001 - the Chinese ones are meant
# The look behind lets a row of dots be tried once, not once per dot.
_END = re.compile(
    rf"(?<![.!?…])[.!?…]++[{_CLOSING}]*+\s+"
    rf"|[。！？；｡]++[{_CLOSING}]*+\s*"  # noqa: RUF001
    r"|\n\n"
)
#: Before a dot that ends no sentence: a letter by itself, a title, an abbreviation.
_ABBREVIATED = re.compile(r"(?:\b[^\W\d_]|\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|Nr|vs|etc|Fig|Inc|Ltd|Co|Jr|Sr|approx))\.\s+\Z")
#: Where a sentence that is too long is cut, the best first.
_PAUSES = ("；", "，", "、", "; ", ", ", " ", "\n")  # noqa: RUF001


def passages(text: str) -> list[str]:
    """The text in passages of at most LONGEST (blanks at their ends aside); none is blank.

    Joined they are the text, but for needless blanks.
    """
    found: list[str] = []
    held, weight = "", 0
    for piece in _pieces(_tidy(text)):
        more = _weight(piece)
        # A new paragraph begins a new passage, unless little is held.
        full = weight + more > LONGEST or (held.endswith("\n\n") and weight > LONGEST // 2)
        if held and full and not piece.isspace():
            found.append(held)
            held, weight = "", 0
        held, weight = held + piece, weight + more
    return [*found, held] if held else found


def _tidy(text: str) -> str:
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r" ?\n ?(?:\n ?)+", "\n\n", text).strip()


def _pieces(text: str) -> Iterator[str]:
    """Sentences with the blanks behind them, and parts of those that are too long."""
    for sentence in _sentences(text):
        start, limit = 0, len(sentence)
        if _weight(sentence) > LONGEST:
            limit = LONGEST // _DENSE_WEIGHT if _DENSE.search(sentence) else LONGEST
        while len(sentence) - start > limit:
            cut = _pause(sentence, start, start + limit)
            yield sentence[start:cut]
            start = cut
        yield sentence[start:]


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        if _ends(text, end):
            yield text[start : end.end()]
            start = end.end()
    if start < len(text):
        yield text[start:]


def _ends(text: str, end: re.Match[str]) -> bool:
    if not end[0].startswith("."):
        return True
    return not text[end.end() : end.end() + 1].islower() and not _ABBREVIATED.search(text, end.start() - 8, end.end())


def _pause(sentence: str, start: int, limit: int) -> int:
    """The place behind the last pause before `limit`, or `limit` itself where there is none in the second half."""
    places = (sentence.rfind(pause, (start + limit) // 2, limit) + len(pause) for pause in _PAUSES)
    return next((place for place in places if place > (start + limit) // 2), limit)


def _weight(text: str) -> int:
    return len(text) + (_DENSE_WEIGHT - 1) * len(_DENSE.findall(text))
