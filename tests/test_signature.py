"""What a task's parameters may be, beside what the contract of executors shows."""

from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import Meta

from tasks import task
from tasks.errors import ConfigurationError

Letters = Annotated[str, Meta(pattern="^[a-z]+$")]


def test_a_type_that_would_spoil_memory_is_refused() -> None:
    def one_or_many(to: Letters | list[Letters]) -> None: ...
    def deep(to: list[Letters | dict[str, int] | None]) -> None: ...
    def fine(to: Letters | None, others: list[Letters], either: str | list[Letters]) -> None: ...

    for function in (one_or_many, deep):
        with pytest.raises(ConfigurationError, match="to takes a text with a pattern or a container"):
            task(function)
    assert task(fine).signature.schema()["required"] == ["to", "others", "either"]
