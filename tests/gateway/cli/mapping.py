"""The commands that docs/operations.md gives to those who come from another system."""

from __future__ import annotations

import re
import shlex

from tests.support.processes import ROOT

_TITLE = "## Commands of the systems that came here"


def commands() -> list[list[str]]:
    """Each `jobgate …` of the table's right column, in order, without its first word."""
    table = (ROOT / "docs/operations.md").read_text().split(_TITLE)[1]
    cells = [line.split("|")[-2] for line in table.splitlines() if line.startswith("| ")]
    return [shlex.split(found)[1:] for cell in cells for found in re.findall(r"`(jobgate [^`]+)`", cell)]


def of_a_stack(command: list[str]) -> bool:
    """Whether it needs the stack's own processes."""
    return command[0] == "stack" and command[1] not in {"inspect", "purge"}
