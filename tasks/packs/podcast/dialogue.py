"""A dialogue drawn from the sources: one speaker asks, the other says what they say. The same every time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from tasks.packs.podcast.script import Script, Turn
from tasks.packs.podcast.sentence import Sentence, telling
from tasks.packs.podcast.source import Source
from tasks.packs.podcast.utterance import named

#: Sentences that one answer holds at most.
_AT_ONCE = 2
_QUESTIONS = (
    "What should we know about {}?",
    "Tell us more about {}.",
    "And what about {}?",
    "What else is there to say about {}?",
)
_OPEN_QUESTION = "What else should we know?"


def draw(episode: str, speakers: Sequence[str], sources: Sequence[Source], turns: int) -> Script:
    """At most `turns` turns, beginning with the first speaker; fewer where the sources have no more to say."""
    host, guest = speakers
    answers = _answers(sources, turns // 2)
    topic = named(sources[0].title, "our sources")
    welcome = f"Welcome to {named(episode, 'our podcast')}. I am {host}, and with me is {guest}. Our topic is {topic}."
    said = [Turn(host, welcome)]
    for number, (source, sentences) in enumerate(answers):
        if number:
            said.append(Turn(host, _question(number, source, answers[number - 1][0], sentences[0].topic)))
        said.append(Turn(guest, " ".join(sentence.text for sentence in sentences)))
    if len(said) < turns:
        said.append(Turn(host, f"Thank you, {guest}. And thank you for listening."))
    return Script(turns=said, by="sources")


def _answers(sources: Sequence[Source], count: int) -> list[tuple[Source, list[Sentence]]]:
    """At most `count` answers, those of one source together; every source has one as long as there is room."""
    share = -(-count // len(sources))
    pools = [(source, _grouped(telling(source.text, share * _AT_ONCE))) for source in sources]
    # Round by round, so that a talkative source leaves room for the others.
    rounds = zip_longest(*(range(len(groups)) for _, groups in pools))
    wanted = [(place, n) for turn in rounds for place, n in enumerate(turn) if n is not None][:count]
    return [(pools[place][0], pools[place][1][n]) for place, n in sorted(wanted)]


def _grouped(sentences: Sequence[Sentence]) -> list[list[Sentence]]:
    return [list(sentences[n : n + _AT_ONCE]) for n in range(0, len(sentences), _AT_ONCE)]


def _question(number: int, source: Source, before: Source, topic: str) -> str:
    if source.id != before.id:
        return f"Let us turn to {named(source.title, 'our next source')}. {_OPEN_QUESTION}"
    return _QUESTIONS[(number - 1) % len(_QUESTIONS)].format(topic) if topic else _OPEN_QUESTION
