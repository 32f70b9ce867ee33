"""How much text there is."""

from __future__ import annotations

import re
from itertools import pairwise

from msgspec import Struct

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9d"
# Vowel signs of Hebrew, Arabic and the scripts of India and South-East Asia are no letters to `\w`, but part of words.
MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0e7f\u1000-\u109f"

DENSE = re.compile(f"[{HAN}{KANA}]")
WORD = re.compile(rf"[\w{MARKS}]+(?:['\u2019\-][\w{MARKS}]+)*")
# The look behind lets a row of dots be tried once, not once per dot.
_SENTENCE = re.compile(r"""(?<![.!?…])[.!?…]++["'”\u2019»)\]]*+(?=\s|\Z)|[。\uff01\uff1f｡]+""")


class Figures(Struct, frozen=True):
    """Counts. Lines are those with text on them; paragraphs are parted by blank lines."""

    words: int
    lines: int
    sentences: int
    paragraphs: int


def figures(text: str) -> Figures:
    """Count as a word processor does: every Han or Kana character is a word, other words are rows of letters.

    Thai, Lao, Khmer and Burmese write no spaces between words; there a whole phrase counts as one.
    """
    rest, dense = DENSE.subn(" ", text)
    words = dense + sum(1 for _ in WORD.finditer(rest))
    filled = [bool(line.strip()) for line in text.splitlines()]
    sentences = sum(1 for _ in _SENTENCE.finditer(text))
    return Figures(
        words=words,
        lines=sum(filled),
        sentences=max(sentences, 1) if words else 0,
        paragraphs=sum(now and not before for before, now in pairwise([False, *filled])),
    )
