"""Masks what looks like a secret in texts that others may read: tracebacks and the messages of errors; pure."""

from __future__ import annotations

import re

MASK = "***"
# Every repetition is bounded: the text of an error may be of any kind and length, and matching it keeps the
# interpreter's lock.

#: Credentials whose form gives them away: in a URL, and in a header's value.
_CREDENTIALS = re.compile(r"(://(?:[^/\s:@]{0,256}:)?)[^/\s@]{1,256}(?=@)|(\b(?:Bearer|Basic) )[^\s\"']{1,4096}")
#: A value after a name of this kind: `password=…`, `"api_key": "…"`; of these two headers, all of the line.
_NAMED = re.compile(
    r"""((?:authorization|cookie)["']?\s{0,8}:\s{0,8}["']?)[^"'\n]{1,4096}"""
    r"""|((?:authorization|cookie|token|passw(?:or)?d|secret|api[-_]?key)\w{0,64}["']?\s{0,8}[:=]\s{0,8})(?!=)"""
    r"""(?:b?"[^"\n]{0,4096}"|b?'[^'\n]{0,4096}'|(?:Bearer |Basic )?[^\s"',;)\]}]{1,4096})""",
    re.IGNORECASE,
)


def shown_url(url: str) -> str:
    """Returns a URL of a database or broker without its password and its query, in which some drivers take one."""
    scheme, mark, rest = url.partition("://")
    if not mark:  # empty, or no URL at all: it may hold a password nevertheless
        scheme, rest = "", url
    place, question, _ = rest.partition("?")
    who, at, where = place.rpartition("@")
    user, colon, _ = who.partition(":")
    return f"{scheme}{mark}{user}{colon and f':{MASK}'}{at}{where}{question and f'?{MASK}'}"


def mask_credentials(text: str) -> str:
    """Without passwords in URLs, and without the values of `Bearer` and `Basic`."""
    return _CREDENTIALS.sub(lambda found: f"{found[1] or found[2]}{MASK}", text)


def mask_secrets(text: str) -> str:
    """Without these either: values that follow a name such as password, token, secret, cookie or api_key."""
    return _NAMED.sub(lambda found: f"{found[1] or found[2]}{MASK}", mask_credentials(text))
