"""What a doctor finds, as values: what disagrees, what the product does about it by itself, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct


class Severity(StrEnum):
    """ "error": jobs do not run, or may be lost or doubled; "warning": they will, or do badly; "note": good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


_WEIGHT = {Severity.ERROR: 2, Severity.WARNING: 1, Severity.NOTE: 0}


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `code` is for machines; docs/doctor.md explains each.

    `detail` says what disagrees, `done` what the product does about it by itself (None: nothing), `remedy` what is left
    to do, `data` has the figures.
    """

    code: str
    severity: Severity
    detail: str
    remedy: str
    done: str | None = None
    data: Mapping[str, Any] = {}


class Diagnosis(Struct, frozen=True, kw_only=True):
    """The findings, worst first; `looked_at` and `not_looked_at` (with the reason) say what they rest on."""

    findings: Sequence[Finding]
    looked_at: Sequence[str]
    not_looked_at: Mapping[str, str]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -_WEIGHT[finding.severity])


def exit_status(findings: Iterable[Finding]) -> int:
    """What a command ends with: 0 nothing worse than a note, 1 a warning, 2 an error."""
    return max((_WEIGHT[finding.severity] for finding in findings), default=0)
