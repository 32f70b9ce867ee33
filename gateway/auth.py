"""Who may come in: holders of an API key, or, without keys, programs on this machine."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import NamedTuple

from gateway.api_keys import parse
from gateway.problems import Refusal
from gateway.scopes import ADMIN

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_CHALLENGE = [(b"www-authenticate", b'Bearer realm="jobgate"')]
_WRONG_KEY = [(b"www-authenticate", b'Bearer realm="jobgate", error="invalid_token"')]


class Caller(NamedTuple):
    """A key's name, and what it allows."""

    name: str
    scopes: frozenset[str]

    def need(self, scope: str) -> None:
        """Refusal if the key does not allow it."""
        if scope in self.scopes or ADMIN in self.scopes:
            return
        wanted = scope if scope == ADMIN else f"{scope} (or {ADMIN})"
        has = " and ".join(sorted(self.scopes))
        challenge = f'Bearer realm="jobgate", error="insufficient_scope", scope="{scope}"'
        raise Refusal(
            "missing-scope",
            f"this needs a key with the scope {wanted}; the key of {self.name} has {has}",
            [],
            [(b"www-authenticate", challenge.encode())],
        )


#: Who comes in where there are no keys.
ANYBODY = Caller("", frozenset({ADMIN}))


class Keys:
    """API keys, kept as digests only, by the entries of JOBGATE_API_KEYS: see `gateway.api_keys`.

    A key without scopes may do everything; `python -m gateway` takes such a key on loopback only.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._known = [_known(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._known)

    def check(self, headers: dict[bytes, bytes]) -> Caller:
        """Whose key the request carries, or Refusal. Two keys of one name are one caller."""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise Refusal("unauthorized", "send the header Authorization: Bearer <key>", [], _CHALLENGE)
        digest = sha256(token.strip()).digest()
        # Every key is compared, so that the time taken tells nothing about which one came near.
        callers = [caller for caller, known in self._known if hmac.compare_digest(digest, known)]
        if not callers:
            raise Refusal("unauthorized", "this API key is not one of JOBGATE_API_KEYS", [], _WRONG_KEY)
        return callers[0]


class Neighbours:
    """Guards a server without keys against what browsers can be made to do to loopback addresses."""

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self._hosts = _LOOPBACK_NAMES.union(host.lower() for host in hosts)
        #: Host headers that were found good: a handful, so that the usual request costs one look.
        self._known: set[bytes] = set()

    def check(self, method: str, headers: dict[bytes, bytes]) -> None:
        """Raise Refusal for a foreign Host (DNS rebinding) and for other sites' pages that want to change something."""
        host = headers.get(b"host", b"")
        if host not in self._known:
            self._admit(host)
        if method not in _SAFE_METHODS:
            _refuse_other_sites(host, headers)

    def _admit(self, host: bytes) -> None:
        name = _hostname(host.decode("latin-1").lower())
        if name not in self._hosts:
            raise Refusal(
                "misdirected-request",
                f"without API keys this server answers to {', '.join(sorted(self._hosts))} only; not to {name[:100]!r}",
            )
        if len(self._known) < 64:
            self._known.add(host)


def _known(entry: str) -> tuple[Caller, bytes]:
    key = parse(entry)
    digest = sha256(key.secret.encode()).digest()
    scopes = frozenset({ADMIN}) if key.scopes is None else key.scopes
    return Caller(key.name or f"key-{digest.hex()[:8]}", scopes), digest


#: A Host header: a name or an address, and a port.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/]*))(?::\d{1,5})?")


def _hostname(host: str) -> str:
    """Its name without the port; all of it where it has no such form."""
    found = _HOST.fullmatch(host)
    return host if found is None else found[1] or found[2] or ""


def _refuse_other_sites(host: bytes, headers: dict[bytes, bytes]) -> None:
    site = headers.get(b"sec-fetch-site", b"none")
    origin = headers.get(b"origin")
    if site in (b"none", b"same-origin") and (origin is None or origin.partition(b"://")[2] == host):
        return
    raise Refusal(
        "forbidden", "a page of another site may not change anything here; use a program, or set JOBGATE_API_KEYS"
    )
