"""What comes beside the body: ids in the path, query parameters, headers."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from gateway.intake import explained
from gateway.problems import Refusal, in_header, in_parameter
from tasks.control_characters import has_control_character, without_control_characters
from tasks.errors import JobNotFound

T = TypeVar("T")

#: Seconds that a caller may wait for a job's end in one request.
MAX_WAIT = 60.0

#: Bytes of a query: while it is decoded, each takes up to two hundred in memory.
MAX_QUERY = 16 * 1024

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MISSING = re.compile(r"missing required field `(\w+)`$")
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_WAIT = re.compile(rb'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])', re.IGNORECASE)


def job_id(text: str) -> str:
    """`text` as an id; what cannot be one names no job."""
    wanted = text.lower()
    if _UUID.fullmatch(wanted) is None:
        raise JobNotFound(f"there is no job {text[:100]!r}: the ids of jobs are UUIDs")
    return wanted


def parameters(query: bytes, kind: type[T]) -> T:
    """The query as a Struct whose fields are the known parameters. Raises Refusal.

    A parameter of a list type may be repeated, and its values may be joined by commas.
    """
    values: dict[str, Any] = {}
    lists = _list_fields(cast("Hashable", kind))
    for name, value in _pairs(query):
        if name in lists:
            values.setdefault(name, []).extend(part for part in value.split(",") if part)
        elif name in values:
            raise in_parameter(name, "is given twice: give it once")
        else:
            values[name] = value
    try:
        found = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        words, pointer = explained(error, kind)
        gone = _MISSING.search(words)
        if gone is not None:
            raise in_parameter(gone[1], "is required") from None
        raise in_parameter(pointer.split("/")[1] if pointer else "query", words) from None
    for name, value in values.items():
        if getattr(found, name) is None:  # the word null, taken for the absence of a value
            raise in_parameter(name, f"takes no {value!r}: leave the parameter out")
    return found


def _pairs(query: bytes) -> list[tuple[str, str]]:
    if len(query) > MAX_QUERY:
        raise Refusal("invalid-parameters", f"the query may have {MAX_QUERY:,} bytes; got {len(query):,}")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError:
        raise Refusal(
            "invalid-parameters", "the query is not percent-encoded UTF-8 of at most 100 parameters"
        ) from None
    for name, value in pairs:
        # A tag may hold any character but NUL, which PostgreSQL takes in no text.
        if has_control_character(name) or "\0" in value:
            shown = without_control_characters(name)[:100]
            raise in_parameter(shown, "names hold no control characters, and values no NUL: leave them out")
    return pairs


@cache
def _list_fields(kind: Hashable) -> frozenset[str]:
    return frozenset(name for name, hint in get_type_hints(kind).items() if get_origin(hint) is list)


def idempotency_key(headers: dict[bytes, bytes]) -> str | None:
    key = headers.get(b"idempotency-key")
    if key is not None and _KEY.fullmatch(key) is None:
        raise in_header("Idempotency-Key", "takes 1 to 255 visible ASCII characters without spaces, such as a UUID")
    return None if key is None else key.decode()


def preferred_wait(headers: dict[bytes, bytes]) -> float | None:
    """Seconds of `Prefer: wait=N`; RFC 7240 has us ignore what we cannot follow."""
    prefer = headers.get(b"prefer")
    found = _WAIT.search(prefer) if prefer is not None else None
    return None if found is None else min(float(found[1]), MAX_WAIT)


def page_token(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def page_start(token: str) -> str | None:
    """Returns the id or name that a page token stands for; None, the first page, for an empty token."""
    if not token:
        return None
    try:
        last_id = base64.b64decode(f"{token}{'=' * (-len(token) % 4)}", altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        last_id = ""
    if has_control_character(last_id) or not last_id:
        raise in_parameter("page_token", "is not a token that this server gave: take next_page_token as it is")
    return last_id
