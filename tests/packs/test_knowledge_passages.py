"""Texts in passages: cut where sentences end, in English and in Chinese; none is lost, blank or too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasks.packs.knowledge.passages import LONGEST, _tidy, _weight, passages


@given(st.text(alphabet="ab .。，,\n!?…“”中文字 \t3", max_size=2000))
def test_nothing_is_lost_blank_or_too_long(text: str) -> None:
    found = passages(text)
    assert "".join(found) == _tidy(text)
    assert all(0 < _weight(passage.strip()) <= LONGEST for passage in found)


def test_passages_end_with_sentences() -> None:
    english = "Dr. Smith paid 3.50 euros, e.g. for tea. Was it good? It was! " * 20
    chinese = "今天天气很好。我们去公园吗？“好的！”他说。" * 20
    for text, ends in ((english, ("tea.", "good?", "was!")), (chinese, ("好。", "吗？", "！”", "说。"))):
        found = passages(text)
        assert len(found) > 2
        assert all(passage.strip().endswith(ends) for passage in found), found


def test_a_paragraph_begins_a_passage() -> None:
    first, second = "One sentence after another. " * 12, "Something else. " * 10
    assert [passage.strip() for passage in passages(f"{first}\n\n{second}")] == [first.strip(), second.strip()]
