"""Scripts: what is drawn from sources, and what is taken of a model's answer."""

from __future__ import annotations

import pytest

from tasks.packs.podcast import author, dialogue
from tasks.packs.podcast.script import Turn
from tasks.packs.podcast.sentence import sentences, telling
from tasks.packs.podcast.source import Source
from tasks.packs.podcast.utterance import is_speakable, plain

NAMES = ("Anna", "Ben")
LIBRARY = """# The library

The library of Dr. Miller opens at nine. Books can be kept for four weeks. It was raining on Tuesday afternoon.

Every visitor of the library may take ten books home. See https://library.example/rules for the *rules* of the library.
"""
MARKET = "The market begins at seven on Saturday. Farmers sell bread on the market. The market ends at noon."


def source(text: str, title: str = "The library", name: str = "a") -> Source:
    return Source(id=name, title=title, text=text, created_at=0)


def test_sentences_are_whole_and_can_be_spoken() -> None:
    assert sentences(LIBRARY) == [
        "The library of Dr. Miller opens at nine.",
        "Books can be kept for four weeks.",
        "It was raining on Tuesday afternoon.",
        "Every visitor of the library may take ten books home.",
        "See for the rules of the library.",
    ]


def test_a_text_without_sentences_is_read_from_its_beginning() -> None:
    assert sentences("Hello there") == ["Hello there"]
    assert sentences("图书馆九点开门。欢迎大家。") == []


def test_a_text_of_nothing_but_abbreviations_is_parted_at_once() -> None:
    text = "Dr. " * 120_000 + "He met Dr. Ann Lee of Acme Inc. London. It was late in the day."
    assert sentences(text)[-1] == "It was late in the day."


def test_the_telling_sentences_come_in_the_order_of_the_text() -> None:
    found = telling(LIBRARY, 3)
    assert "It was raining on Tuesday afternoon." not in [sentence.text for sentence in found]
    assert [sentence.text for sentence in found] == [text for text in sentences(LIBRARY)
                                                     if text in {sentence.text for sentence in found}]  # fmt: skip
    assert len({sentence.topic for sentence in found}) == 3


def test_a_dialogue_takes_turns_and_says_what_the_sources_say() -> None:
    sources = [source(LIBRARY), source(MARKET, "The market", "b")]
    script = dialogue.draw("Our town", NAMES, sources, 5)
    assert script == dialogue.draw("Our town", NAMES, sources, 5)
    assert script.by == "sources"
    assert [turn.speaker for turn in script.turns] == ["Anna", "Ben", "Anna", "Ben", "Anna"]
    assert "Our town" in script.turns[0].text
    assert script.turns[2].text.startswith("Let us turn to The market.")
    facts = {*sentences(LIBRARY), *sentences(MARKET)}
    for turn in script.turns[1::2]:
        assert all(part in facts for part in sentences(turn.text)), turn
    assert script.turns[-1].text.startswith("Thank you, Ben.")


@pytest.mark.parametrize("turns", [2, 3, 4, 7, 60])
def test_it_never_has_more_turns_than_wanted(turns: int) -> None:
    script = dialogue.draw("Town", NAMES, [source(LIBRARY), source(MARKET, "The market", "b")], turns)
    assert 2 <= len(script.turns) <= turns
    assert [turn.speaker for turn in script.turns] == [NAMES[n % 2] for n in range(len(script.turns))]


def test_a_source_named_in_chinese_is_not_named() -> None:
    script = dialogue.draw("播客", NAMES, [source(LIBRARY, "图书馆")], 2)
    assert script.turns[0].text.startswith("Welcome to our podcast. I am Anna, and with me is Ben. Our topic is our")


def test_what_the_voice_can_say() -> None:
    assert is_speakable("Café Zürich, 2026")
    assert is_speakable("Tokyo (東京) is the capital")
    assert not is_speakable("图书馆 opens")
    assert not is_speakable("2026!")
    assert plain("**Bold**\n text\u00a0[here](https://a.example/b) ok") == "Bold text here ok"


def test_a_models_lines_become_turns() -> None:
    text = "Sure! Here it is:\n**Anna:** Welcome.\nNice to be here.\n\nBEN: Thank you.\n- Anna: Goodbye.\nBen: Bye."
    script = author.parse(text, NAMES, 3)
    assert script.by == "model"
    assert list(script.turns) == [
        Turn("Anna", "Welcome. Nice to be here."), Turn("Ben", "Thank you."), Turn("Anna", "Goodbye."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I cannot do that.", "no turns of both"),
        ("Anna: Hello.\nAnna: Hello again.", "no turns of both"),
        ("Anna: Hello.\nBen: 你好，世界", "English only"),
    ],
)
def test_what_is_no_dialogue_is_not_used(text: str, why: str) -> None:
    with pytest.raises(author.UnusableScript, match=why):
        author.parse(text, NAMES, 10)


def test_a_long_turn_is_cut_between_words() -> None:
    script = author.parse(f"Anna: {'word ' * 1000}\nBen: Yes.", NAMES, 2)
    assert len(script.turns[0].text) <= author.MAX_TURN + 1
    assert script.turns[0].text.endswith(" word.")
