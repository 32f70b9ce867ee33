"""What the voice can say: English in Latin letters; of anything else it would silently say nothing."""

from __future__ import annotations

import re
import unicodedata

_LINK = re.compile(r"\(?\b(?:https?://|www\.)\S+")
_MARKUP = re.compile(r"[#*_`>|~\[\]{}<]+")
_SPACE = re.compile(r"\s+")
#: Share of the letters that are Latin, from which on a text is for this voice.
_ENOUGH = 0.75


def is_speakable(text: str) -> bool:
    """Whether most of its letters are Latin, and it has some."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum(1 for letter in letters if "LATIN" in unicodedata.name(letter, ""))
    return latin > 0 and latin >= _ENOUGH * len(letters)


def plain(text: str) -> str:
    """On one line, without links, mark-up and characters that only the eye reads."""
    text = unicodedata.normalize("NFKC", _MARKUP.sub(" ", _LINK.sub("", text)))
    return _SPACE.sub(" ", text).strip()


def named(text: str, otherwise: str) -> str:
    """A title as it is spoken; `otherwise` where it cannot be."""
    text = plain(text).strip(" .!?:;,-")
    return text if is_speakable(text) else otherwise
