"""Which words a text is about: the most frequent ones that are not stop words.

Own code, because it is fifty lines: the libraries for it bring megabytes of models, want the language beforehand, or
carry a licence that binds users. Chinese and Japanese write no spaces; there every row of two to eight ideographs is
counted, and one that mostly occurs inside a longer one gives way to it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from tasks.packs.files.content import Keyword
from tasks.packs.files.figure import DENSE, HAN, WORD
from tasks.packs.files.stop_word import FUNCTION_CHARACTERS, STOP_WORDS

#: Characters at the start of the text that are looked at: enough to know its subject, and a bound on memory.
_SAMPLE = 250_000
#: Ideographs at the start that are looked at; each begins several rows, and each row is kept.
_DENSE_SAMPLE = 100_000
_LENGTHS = range(2, 9)
#: Letters; a longer word is data, not language.
_MAX_LETTERS = 40

_IDEOGRAPHS = re.compile(f"[{HAN}]+")
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc]{2,}")
_FUNCTION = re.compile(f"[{FUNCTION_CHARACTERS}]")


def keywords(text: str, language: str | None, limit: int = 10) -> list[Keyword]:
    """At most `limit` words with their counts, the most frequent first; equals in the order of the text."""
    sample = text[:_SAMPLE]
    counts = Counter(_words(sample, language))
    counts.update(_KATAKANA.findall(sample))
    counts.update(_phrases(sample))
    return [Keyword(word, count) for word, count in counts.most_common(limit)]


def _words(text: str, language: str | None) -> Iterator[str]:
    known = STOP_WORDS.get(language or "")
    # English terms stand in texts of every language; without a language, all stop words are stop words.
    stop = known | STOP_WORDS["en"] if known is not None else frozenset().union(*STOP_WORDS.values())
    for match in WORD.finditer(DENSE.sub(" ", text)):
        word = unicodedata.normalize("NFKC", match[0][: _MAX_LETTERS + 1]).lower()
        if _tells(word) and word not in stop:
            yield word


def _tells(word: str) -> bool:
    # In the scripts of Asia two letters are a word; in Latin, Greek and Cyrillic seldom one that tells anything.
    least = 3 if word < "\u0590" else 2
    return least <= len(word) <= _MAX_LETTERS and word[0].isalpha()


def _phrases(text: str) -> dict[str, int]:
    """Rows of ideographs that occur more than once, without those that are mostly part of a longer one."""
    counts = Counter(_rows(text[:_DENSE_SAMPLE]))
    found = {row: count for row, count in counts.items() if count > 1}
    inner = {
        part
        for row, count in found.items()
        for part in (row[:-1], row[1:])
        if len(part) > 1 and count >= 0.6 * found[part]
    }
    return {row: count for row, count in found.items() if row not in inner}


def _rows(text: str) -> Iterator[str]:
    for match in _IDEOGRAPHS.finditer(_FUNCTION.sub(" ", text)):
        run = match[0]
        for length in _LENGTHS:
            for start in range(len(run) - length + 1):
                yield run[start : start + length]
