"""Hosts and domains: whose page an address is; pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])")
_PORTS = {"http": 80, "https": 443}
MAX_HOST = 253


def domain_of(text: str) -> str | None:
    """A domain in small ASCII letters (北风.example is xn--…), or None for what is none."""
    name = _ascii(text.strip())
    return name if name is not None and len(name) <= MAX_HOST and _DOMAIN.fullmatch(name) else None


def host_of(url: str) -> str | None:
    """The host of a web address, spelled as `domain_of` does; None for anything else."""
    try:
        parts = urlsplit(url.strip())
        # Its port is looked at because one that is none raises here, and nowhere else then.
        host = _ascii(parts.hostname or "") if parts.scheme in _PORTS and parts.port != 0 else None
    except ValueError:
        return None
    return host if host and len(host) <= MAX_HOST else None


def page_of(url: str) -> str:
    """What two addresses of one page have in common: without fragment, tracking and the usual port."""
    parts = urlsplit(url.strip())
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query, True) if not name.startswith("utm_")])
    return f"{host_of(url)}{port}{parts.path or '/'}?{query}"


def _ascii(host: str) -> str | None:
    try:
        return host.rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
