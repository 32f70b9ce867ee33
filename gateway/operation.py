"""What the table of contents says about each address: enough to route it and to describe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway.call import Endpoint


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one address.

    `answers` maps a status to the body's type, or to a media type for what is not JSON; `query` and `body` are the
    Structs that the endpoint parses; `headers` names request headers that it reads; `problems` the kinds of
    refusal beyond those that every address may give.
    """

    method: str
    path: str
    endpoint: Endpoint
    id: str
    summary: str
    tag: str
    answers: Mapping[int, Any]
    query: type[Any] | None = None
    body: Any = None
    headers: Sequence[str] = ()
    problems: Sequence[str] = ()
    example: Any = None
    #: Whether it goes into the audit trail; of what changes something, all but plain submissions do.
    audit: bool = True
    #: What an API key needs for it, where `gateway.scopes` does not know it by name.
    scope: str = ""

    @property
    def audited(self) -> bool:
        return self.audit and self.method != "GET"


def get(path: str, endpoint: Any, id: str, summary: str, tag: str, answer: Any, **more: Any) -> Operation:
    return Operation(
        method="GET", path=path, endpoint=endpoint, id=id, summary=summary, tag=tag, answers={200: answer}, **more
    )


def post(path: str, endpoint: Any, id: str, summary: str, tag: str, answers: dict[int, Any], **more: Any) -> Operation:
    return Operation(
        method="POST", path=path, endpoint=endpoint, id=id, summary=summary, tag=tag, answers=answers, **more
    )
