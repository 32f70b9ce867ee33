"""Results as text: what fits, what does not, and what is not even tried."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors import results
from executors.results import TooLarge, encode

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(values, st.integers(0, 200))
def test_a_text_is_given_exactly_when_it_fits(value: Any, limit: int) -> None:
    text = json.dumps(value)
    if len(text) <= max(limit, 4):
        assert encode(value, max(limit, 4)) == text
    else:
        with pytest.raises(TooLarge) as refused:
            encode(value, max(limit, 4))
        assert refused.value.size in (None, len(text))


@pytest.mark.parametrize(
    "value",
    [
        "x" * 2_000_000,
        [0] * 1_000_000,
        {str(n): None for n in range(300_000)},
        [[string.ascii_letters] * 10] * 10_000,
        [{"a": ["y" * 2_000_000]}],
    ],
    ids=["text", "list", "dict", "nested", "hidden"],
)
def test_what_is_far_too_large_is_never_encoded(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(results.json, "dumps", lambda *_, **__: pytest.fail("it was encoded"))
    with pytest.raises(TooLarge) as refused:
        encode(value, 1 << 20)
    assert refused.value.size is None


def test_what_is_part_of_itself_is_no_json() -> None:
    ring: list[Any] = [1]
    ring.append({"again": ring})
    with pytest.raises(ValueError, match="Circular"):
        encode(ring, 1 << 20)
