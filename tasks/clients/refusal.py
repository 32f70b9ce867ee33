"""What a service outside says when it does not do as asked: `Retry` where another time may help, else `FatalError`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import msgspec

from tasks.errors import FatalError, Retry, printable

#: Besides all 5xx: too late, too early, too many.
_PASSING = frozenset({408, 425, 429})
#: Seconds: nobody is waited for longer, whatever Retry-After says.
MAX_WAIT = 86_400.0
#: Where services put their words, in the JSON of an answer that refuses.
_PLACES = ("error", "message", "detail", "error_description", "errors")
_WORDS = 500


def refused(who: str, answer: httpx2.Response, secret: str = "") -> Retry | FatalError:
    """The error for an answer that is no success, with the service's own words; its body must have been read.

    `who` is how the service is called; `secret` is kept out of the words.
    """
    words = told(answer, secret)
    said = f"{who} answered {answer.status_code}" + (f": {words}" if words else "")
    if answer.status_code >= 500 or answer.status_code in _PASSING:
        return Retry(said, retry_after(answer.headers))
    return FatalError(said)


def broken(who: str, error: httpx2.TransportError | httpx2.StreamError) -> Retry:
    """The error for a connection that was refused, cut, or silent for too long."""
    what = "was silent for too long" if isinstance(error, httpx2.TimeoutException) else "was not reached or broke off"
    return Retry(f"{who} {what} ({type(error).__name__}{f': {error}' if str(error) else ''})")


def told(answer: httpx2.Response, secret: str = "") -> str:
    """The service's own words in the body of an answer, at most 500 characters."""
    try:
        words = _words(msgspec.json.decode(answer.content)) or answer.text
    except (ValueError, RecursionError):
        words = answer.text
    return printable((words.replace(secret, "…") if secret else words).strip(), _WORDS)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the header Retry-After asks for, as a number or a date; None without it or where it is nonsense."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value) if value[:1].isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(seconds, 0.0), MAX_WAIT)


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return next((words for place in _PLACES if (words := _words(value.get(place)))), "")
    if isinstance(value, list):
        return "; ".join(filter(None, map(_words, value)))
    return ""
