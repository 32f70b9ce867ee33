"""Masks what looks like a secret in texts that others may read: tracebacks and the messages of errors; pure."""

from __future__ import annotations

import re

MASK = "***"
#: Credentials whose form gives them away: in a URL, and in a header's value.
_CREDENTIALS = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)|(\b(?:Bearer|Basic) )[^\s\"']+")
#: A value after a name of this kind: `password=…`, `"api_key": "…"`, `Authorization: …`.
_NAMED = re.compile(
    r"""(\w*(?:authorization|cookie|token|passw(?:or)?d|secret|api[-_]?key)\w*["']?\s*[:=]\s*)(?!=)"""
    r"""("[^"\n]*"|'[^'\n]*'|(?:Bearer |Basic )?[^\s"',;)\]}]+)""",
    re.IGNORECASE,
)


def mask_credentials(text: str) -> str:
    """Without passwords in URLs, and without the values of `Bearer` and `Basic`."""
    return _CREDENTIALS.sub(lambda found: f"{found[1] or found[2]}{MASK}", text)


def mask_secrets(text: str) -> str:
    """Without these either: values that follow a name such as password, token, secret, cookie or api_key."""
    return _NAMED.sub(lambda found: found[1] + MASK, mask_credentials(text))
