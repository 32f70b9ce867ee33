"""The platform: how a question is put to an AI search platform, and what its answer says. Pure; `asking` does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct


class Access(Struct, frozen=True, kw_only=True):
    """What a deployment says of one platform. `interval` is milliseconds between two questions; `prices` are US
    dollars for a million tokens read, a million written, and one search, or empty."""

    key: str
    base_url: str
    model: str = ""
    interval: float = 0.0
    prices: tuple[float, ...] = ()


class Request(Struct, frozen=True):
    """A POST: the path below the base address, the JSON body, the headers."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


class Source(Struct, frozen=True):
    """A page that an answer rests on, as the platform names it."""

    url: str
    title: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What a platform said. `sources` are those that the text cites, in their order, or where a platform does not mark
    them those that it searched. Tokens and `cost` (US dollars) are None where it does not tell."""

    text: str
    sources: list[Source] = []
    tokens_read: int | None = None
    tokens_written: int | None = None
    searches: int = 1
    cost: float | None = None


class PlatformFailed(Exception):
    """The platform gave no answer. `lasting`: to ask again is of no use; `retry_after`: seconds that it asks for."""

    def __init__(self, words: str, *, lasting: bool = False, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.words, self.lasting, self.retry_after = words, lasting, retry_after


class Platform(Struct, frozen=True, kw_only=True):
    """One platform, under the name that tasks and tables use.

    `request` and `read` raise PlatformFailed: for a question that it does not take, for an answer that says it failed.
    `reply` is the shape of the JSON that `read` gets. `wait` finds in the body of an error how many seconds to wait,
    where no header says it. `key_needed`: without a key it is not asked. `redirect`: the part of a path by which its
    sources' addresses are known to be redirects.
    """

    name: str
    request: Callable[[str, Access], Request]
    reply: type[Struct]
    read: Callable[[Any], Answer]
    wait: Callable[[bytes], float | None] = lambda body: None
    key_needed: bool = True
    redirect: str = ""


def bearer(access: Access) -> dict[str, str]:
    """The header that most of them want; none without a key."""
    return {"authorization": f"Bearer {access.key}"} if access.key else {}
