"""The addresses that packs declare, as the operations that the gateway serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from starlette.responses import FileResponse
from starlette.types import ASGIApp

from gateway import intake
from gateway.call import Call, Endpoint
from gateway.operation import Operation
from gateway.problems import Refusal
from gateway.reply import Reply, encode
from tasks.address import Address, Download
from tasks.errors import ConfigurationError

_BODY = ("malformed-json", "request-timeout", "payload-too-large", "unsupported-media-type", "invalid-submission")
#: Names of parts that do not say of what.
_COMMON = frozenset({"id", "name", "number"})
_USUAL = ("not-found", "state-conflict", "invalid-arguments", "not-configured", "store-unavailable")


def operations(addresses: Iterable[Address], taken: Sequence[Operation]) -> list[Operation]:
    """One for each. Raises ConfigurationError where an address is `taken` already."""
    owners = {(operation.method, operation.path): "the gateway itself" for operation in taken}
    found: list[Operation] = []
    for address in addresses:
        place, module = (address.method, address.path), address.handler.__module__
        if owners.setdefault(place, module) != module or any(place == (other.method, other.path) for other in found):
            raise ConfigurationError(
                f"{address} of {module} is served by {owners[place]} already: give it another path"
            )
        found.append(_operation(address))
    return found


def _operation(address: Address) -> Operation:
    answer = "application/octet-stream" if address.answer is Download else address.answer
    answer = None if answer is type(None) else answer
    return Operation(
        method=address.method,
        path=address.path,
        endpoint=_endpoint(address),
        id=f"{address.handler.__module__.replace('.', '_')}_{address.handler.__name__}",
        summary=address.summary,
        tag=address.handler.__module__.removeprefix("tasks.packs.").partition(".")[0],
        answers={204 if answer is None else address.status: answer},
        query=address.query,
        body=address.body,
        problems=(*_USUAL, *(_BODY if address.body else ()), *(("invalid-parameters",) if address.query else ())),
        audit=address.scope in ("control", "admin"),
        scope=address.scope,
    )


def _endpoint(address: Address) -> Endpoint:
    things = {name: _thing(address.path, name) for name in address.open}

    async def answer(call: Call) -> ASGIApp:
        given = {name: _part(call.params[name], hint, things[name]) for name, hint in address.open.items()}
        if address.body is not None:
            value = await intake.read(intake.parse_json, await call.json(call.gateway.options.max_body))
            given["body"] = intake.to_struct(value, address.body)
        if address.query is not None:
            given["query"] = call.query(address.query)
        return _reply(await address.handler(**given), address.status)

    return answer


def _thing(path: str, name: str) -> str:
    """What a part of the path names, for people: "run" for `run_id`, and "order" for `/orders/{number}`."""
    if name in _COMMON:
        return path.partition(f"/{{{name}}}")[0].rpartition("/")[2].removesuffix("s").replace("-", " ")
    return name.removesuffix("_id").replace("_", " ")


def _part(text: str, hint: Any, thing: str) -> Any:
    """A part of the path as its parameter takes it, or Refusal: a text of another form names nothing that exists."""
    try:
        return msgspec.convert(text, hint, strict=False)
    except msgspec.ValidationError:
        raise Refusal("not-found", f"there is no {thing} {text[:100]!r}") from None


def _reply(value: Any, status: int) -> ASGIApp:
    if value is None:
        return Reply(204)
    if isinstance(value, Download):
        return FileResponse(value.path, media_type=value.media_type, filename=value.name)
    return Reply(status, encode(value))
