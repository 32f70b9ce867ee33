"""The sentences of a source, and which of them tell most: those whose words the text comes back to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from tasks.packs.files.stop_word import STOP_WORDS
from tasks.packs.podcast.utterance import is_speakable, plain

#: Words of a sentence that can be listened to.
SHORTEST, LONGEST = 4, 60

_PARAGRAPH = re.compile(r"\n\s*\n|\n\s*[-*•#]|\n(?=#)")
_END = re.compile(r"(?<=[.!?])[\"')\u201d\u2019]*\s+(?=[\"'(\u201c]?[A-Z0-9])")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Inc|Ltd|Co|No|Fig|vs|etc|e\.g|i\.e|[A-Z])\.$")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]{3,}")


class Sentence(Struct, frozen=True, kw_only=True):
    """A sentence and the word in it that the whole text speaks of most, or ""."""

    text: str
    topic: str


def sentences(text: str) -> list[str]:
    """Those that can be spoken and listened to; the beginning of the text where none can."""
    found = [sentence for part in _PARAGRAPH.split(text) for sentence in _parted(plain(part))]
    fit = [sentence for sentence in found if _fits(sentence)]
    if fit:
        return fit
    beginning = " ".join(plain(text).split()[:LONGEST])
    return [beginning] if is_speakable(beginning) else []


def telling(text: str, count: int) -> list[Sentence]:
    """At most `count` sentences, the most telling ones, in the order of the text, none twice."""
    found = list(dict.fromkeys(sentences(text)))
    weights = Counter(word for sentence in found for word in _content(sentence))
    # Of equals the earlier one: texts begin with what matters.
    ranked = sorted(range(len(found)), key=lambda n: (-_score(found[n], weights), n))
    chosen = [found[n] for n in sorted(ranked[:count])]
    topics = _topics(chosen, weights)
    return [Sentence(text=sentence, topic=topic) for sentence, topic in zip(chosen, topics, strict=True)]


def _parted(paragraph: str) -> list[str]:
    parts: list[list[str]] = []
    for part in _END.split(paragraph):
        # Its end alone: no abbreviation is longer, and a text may be one of thousands of them.
        if parts and _ABBREVIATION.search(parts[-1][-1][-8:]):
            parts[-1].append(part)
        else:
            parts.append([part])
    return [" ".join(pieces) for pieces in parts]


def _fits(sentence: str) -> bool:
    return SHORTEST <= len(sentence.split()) <= LONGEST and is_speakable(sentence)


def _content(sentence: str) -> list[str]:
    words = (word.lower() for word in _WORD.findall(sentence))
    return [word for word in dict.fromkeys(words) if word not in STOP_WORDS["en"]]


def _score(sentence: str, weights: Counter[str]) -> float:
    words = _content(sentence)
    # Long sentences hold more words: they must not win by that alone.
    return sum(weights[word] for word in words) / (len(words) + 4)


def _topics(chosen: Sequence[str], weights: Counter[str]) -> list[str]:
    """For each sentence its weightiest word that none before it had."""
    used: set[str] = set()
    topics = []
    for sentence in chosen:
        fresh = [word for word in _content(sentence) if word not in used]
        topic = max(fresh, key=lambda word: weights[word], default="")
        used.add(topic)
        topics.append(topic)
    return topics
