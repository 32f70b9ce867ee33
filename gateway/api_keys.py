"""Entries of JOBGATE_API_KEYS: how they are read, which keys are too weak for a network, and how a new one is made."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway.scopes import ADMIN, SCOPES
from tasks.errors import ConfigurationError

#: Characters of a key at least, and how many of them must differ: 20 letters and digits are beyond guessing.
MIN_LENGTH = 20
MIN_DIFFERENT = 8
#: Words of keys that were typed and not drawn; a drawn key holds one with a chance below one in a million.
GUESSABLE = ("change", "secret", "passw", "example", "default", "jobgate", "letmein", "qwerty", "12345", "abcdef")
#: Marks a key for tools that look for secrets in repositories and logs.
PREFIX = "jg_"


class ApiKey(NamedTuple):
    """One entry. `name` is "" and `scopes` None where the entry gives none."""

    name: str
    secret: str
    scopes: frozenset[str] | None


def parse(entry: str) -> ApiKey:
    """Reads `key`, `name:key` or `name:key:scope+scope`; the key may hold colons. Raises ConfigurationError."""
    name, colon, secret = (part.strip() for part in entry.partition(":"))
    if not colon:
        name, secret = "", name
    secret, scopes = _scopes(name, secret)
    if not secret:
        raise ConfigurationError(f"JOBGATE_API_KEYS takes name:key,… or key,…; the key of {name!r} is empty")
    if frozenset(secret.split("+")) <= frozenset(SCOPES):
        # What stands before it may well be the key: it is not shown.
        raise ConfigurationError(f"JOBGATE_API_KEYS: {secret!r} is a scope and no key: give name:key:scope")
    return ApiKey(name, secret, scopes)


def weaknesses(entries: Iterable[str]) -> Iterator[str]:
    """Yields what makes each entry unfit for a server that others can reach; no word of a key is in it."""
    for number, entry in enumerate(entries, 1):
        key = parse(entry)
        faults = []
        if len(key.secret) < MIN_LENGTH or len(set(key.secret)) < MIN_DIFFERENT:
            faults.append(f"the key needs {MIN_LENGTH} characters, {MIN_DIFFERENT} different ones among them")
        elif any(word in key.secret.lower() for word in GUESSABLE):
            faults.append("the key holds a word that is easy to guess")
        if key.scopes is None:
            faults.append(f"it names no scope: add :read, :submit+read or, for everything, :{ADMIN}")
        if faults:
            yield f"entry {number}{f' ({key.name})' if key.name else ''}: {'; '.join(faults)}"


def new_entry(name: str, scopes: Iterable[str]) -> str:
    """Returns an entry with a new key of 256 random bits. Raises ConfigurationError for a wrong name or scope."""
    chosen = list(dict.fromkeys(scopes))
    wrong = [scope for scope in chosen if scope not in SCOPES]
    if wrong or not chosen:
        given = ", ".join(map(repr, wrong)) or "none"
        raise ConfigurationError(f"--scope takes one or more of {', '.join(SCOPES)}; got {given}")
    if not name.isprintable() or not name.strip() or set(name) & set(":,'\" "):
        raise ConfigurationError("a caller's name has visible characters without colons, commas, quotes and blanks")
    return f"{name}:{PREFIX}{secrets.token_urlsafe(32)}:{'+'.join(chosen)}"


def _scopes(name: str, secret: str) -> tuple[str, frozenset[str] | None]:
    """Splits the scopes off; None where there are none."""
    rest, colon, last = secret.rpartition(":")
    words = frozenset(last.split("+"))
    if not colon or not (words & frozenset(SCOPES) or any(map(_resembles_scope, words))):
        return secret, None
    if not words <= frozenset(SCOPES):
        takes = ", ".join(SCOPES)
        # Only the words beside known scopes are shown: anything else may be part of the key.
        raise ConfigurationError(
            f"JOBGATE_API_KEYS: the scopes of {name!r} are some of {takes}, joined by +; got {last!r}"
        )
    return rest.strip(), words


def _resembles_scope(word: str) -> bool:
    """Whether it is a scope in another spelling: taken for a part of the key, it would make the key an admin's."""
    return bool(difflib.get_close_matches(word.strip().lower(), SCOPES, n=1, cutoff=0.7))
