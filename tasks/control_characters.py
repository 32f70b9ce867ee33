"""ASCII control characters: no path, page token or name of a parameter may hold one."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def has_control_character(text: str) -> bool:
    """Returns whether `text` holds NUL, a line break, a tab, DEL or another control character of ASCII."""
    return _CONTROL.search(text) is not None


def without_control_characters(text: str) -> str:
    """Returns `text` with U+FFFD in place of each control character."""
    return _CONTROL.sub("\ufffd", text)
