"""`@address(…)`: what a pack answers over HTTP, declared as values, served by the gateway."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, get_type_hints

from msgspec import Struct

from tasks.errors import ConfigurationError

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Scope = Literal["read", "submit", "control", "admin"]
Handler = Callable[..., Awaitable[Any]]

_OPEN = re.compile(r"\{(\w+)\}")


class Download(Struct, frozen=True):
    """An answer that is a file: its `path` on this machine, its media type, the name that a browser shall give it."""

    path: Path
    media_type: str
    name: str


class Address:
    """One method of one path, and the function that answers.

    The function's parameter `body` is a Struct that the JSON body is checked against, `query` a Struct of the query's
    parameters, every other one stands in the path. What it returns is sent as JSON with `status`; None is a 204, a
    `Download` a file. Of `tasks.errors`, NotFound becomes a 404, StateConflict a 409, InvalidArguments a 422.
    """

    def __init__(self, method: Method, path: str, handler: Handler, status: int, scope: Scope | None) -> None:
        self.method, self.path, self.handler, self.status = method, path, handler, status
        self.scope: Scope = scope or ("read" if method == "GET" else "submit" if method == "POST" else "admin")
        hints = get_type_hints(handler, include_extras=True)
        self.answer = hints.pop("return", None)
        self.body, self.query = hints.pop("body", None), hints.pop("query", None)
        self.open = hints
        self._refuse_nonsense()

    def __repr__(self) -> str:
        return f"<address {self.method} {self.path}>"

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.handler) or "").partition("\n")[0].rstrip(".")

    def _refuse_nonsense(self) -> None:
        if set(_OPEN.findall(self.path)) != set(self.open):
            given = ", ".join(self.open) or "none"
            raise ConfigurationError(f"{self}: its function takes {given} beside body and query; name them in the path")
        if not inspect.iscoroutinefunction(self.handler):
            raise ConfigurationError(f"{self}: its function must be async: it runs on the gateway's loop")


def address(
    method: Method, path: str, *, status: int = 200, scope: Scope | None = None
) -> Callable[[Handler], Address]:
    """Declare an address. `scope` is what an API key needs for it; without it read for GET, submit for POST."""
    return lambda handler: Address(method, path, handler, status, scope)
