"""One line a second with a count, however many requests meet the same trouble."""

from __future__ import annotations

import logging

import anyio
import pytest

from tasks import repeated_warning
from tasks.repeated_warning import RepeatedWarning
from tests.support.waiting import eventually_async

log = logging.getLogger("jobgate.test")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == log.name]


async def test_a_burst_is_its_first_line_and_one_with_the_number(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_warning, "INTERVAL", 0.3)
    warning = RepeatedWarning(log, "the store is away: %s")
    for n in range(272):
        warning.warn(f"attempt {n}")
    assert lines(caplog) == ["the store is away: attempt 0"]

    async def told() -> bool:
        return len(lines(caplog)) == 2

    await eventually_async(told)
    assert lines(caplog)[1] == "the store is away: attempt 271 (271 times within a second)"


async def test_rare_warnings_are_logged_as_they_come(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_warning, "INTERVAL", 0.01)
    warning = RepeatedWarning(log, "%s and %s")
    for n in range(3):
        warning.warn(n, n)
        await anyio.sleep(0.02)
    assert lines(caplog) == ["0 and 0", "1 and 1", "2 and 2"]


def test_outside_a_loop_the_number_comes_with_the_next_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = RepeatedWarning(log, "the store is away")
    for _ in range(5):
        warning.warn()
    monkeypatch.setattr(repeated_warning, "INTERVAL", 0.0)
    warning.warn()
    assert lines(caplog) == ["the store is away", "the store is away (5 times within a second)"]
