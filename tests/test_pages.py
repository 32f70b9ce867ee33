"""Pages that name the test which shows something: each named test is there."""

from __future__ import annotations

import re

import pytest

from tests.support.processes import ROOT

_TESTS = ROOT / "tests"
_FILES = {path.relative_to(_TESTS).as_posix(): path for path in _TESTS.rglob("*.py")}
_FUNCTIONS = {name for path in _FILES.values() for name in re.findall(r"def (test_\w+)", path.read_text())}


@pytest.mark.parametrize("page", ["systems.md", "faults.md", "security.md"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    folders = re.findall(r"`tests/([\w/]+)(?:\.py)?[`:]", text)
    files = {path.rpartition("/")[2].removesuffix(".py") for path in _FILES}
    named = re.findall(r"(?<!scheduled_task\.)\btest_\w+", text)  # one of the systems has a task of such a name
    assert len(named) > 20
    assert [name for name in named if name not in _FUNCTIONS | files] == []
    assert [place for place in folders if not ((_TESTS / place).exists() or f"{place}.py" in _FILES)] == []
