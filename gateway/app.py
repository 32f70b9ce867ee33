"""The ASGI app: who may come in, which endpoint answers, and one shape for everything that goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct
from starlette.routing import Router, compile_path
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from executors.control import Control
from executors.identity import VERSION
from gateway import addresses, audit, ops
from gateway.auth import ANYBODY, Caller, Keys, Neighbours
from gateway.call import Call, Endpoint, Gone
from gateway.guessing import Guessing
from gateway.openapi import describe, encoded, with_names
from gateway.operation import Operation
from gateway.places import Places
from gateway.problems import Refusal, reply_to
from gateway.routes import OPERATIONS
from gateway.scopes import scope_of
from gateway.shared import Shared
from metrics.expected import expected
from metrics.exposition import Exposition
from metrics.instruments import Build
from tasks.control_characters import has_control_character
from tasks.errors import StoreUnavailable
from tasks.repeated_warning import RepeatedWarning

logger = logging.getLogger("jobgate.gateway")


class Route(NamedTuple):
    """One method of one address: the scope that it needs, what answers, and its description."""

    scope: str
    endpoint: Endpoint
    operation: Operation


OPEN_PATHS = frozenset({"/livez", "/readyz"})
_SINGLE = (b"host", b"content-length", b"content-type", b"authorization", b"idempotency-key")
_CLOSE = [(b"connection", b"close")]


class GatewayOptions(Struct, frozen=True, kw_only=True):
    """What the gateway itself is told. Sizes are bytes; `allowed_hosts` are names beside loopback's own."""

    api_keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    metrics_public: bool = False
    max_body: int = 1024 * 1024
    max_batch_body: int = 16 * 1024 * 1024
    #: Streams of events in all and for one key, and requests that wait for the end of a job.
    max_streams: int = 200
    max_streams_each: int = 50
    max_waits: int = 500
    max_waits_each: int = 250
    #: Seconds for which an answer of `/readyz` is given to others as well.
    readiness_age: float = 0.5


class Gateway:
    """The app, and what its endpoints share."""

    def __init__(self, control: Control, options: GatewayOptions, lifespan: Lifespan[Any] | None = None) -> None:
        self.control = control
        self.options = options
        #: Set when the process was asked to end: no longer ready, and long answers come to their end.
        self.draining = False
        self.streams = Places(options.max_streams, options.max_streams_each)
        self.waits = Places(options.max_waits, options.max_waits_each)
        self.refusals = audit.RefusalCap()
        tasks = [task.name for task in control.registry]
        served = [*OPERATIONS, *addresses.operations(control.registry.addresses, OPERATIONS)]
        self.description = encoded(with_names(describe(served), tasks, control.queues))
        engine = control.store.engine
        self.tallies = control.store.tallies
        setting = control.mode if control.executor is None else control.executor.standing.setting
        build = Build(version=VERSION, executor=setting, database=engine.dialect.name)
        pairs = expected([(task.name, task.queue) for task in control.registry], control.queues)
        self.tallies.limit.expect(pairs.counters)
        self.exposition = Exposition(control.store, build, self.tallies, control.executor, pairs)
        #: One line a second, however many callers meet a store that is away.
        self._refused = RepeatedWarning(logger, "gateway: answered 503, the store does not serve requests: %s")
        self.not_ready = RepeatedWarning(logger, "gateway: not ready: %s")
        self.checks = Shared(lambda: ops.look(self.control, self.not_ready), options.readiness_age)
        self._keys = Keys(options.api_keys)
        self._guessing = Guessing()
        if self._keys:
            self.exposition.count_unauthorized(self._guessing.refused)
        self._neighbours = Neighbours(options.allowed_hosts)
        self._open_paths = OPEN_PATHS | ({"/metrics"} if options.metrics_public else set())
        resources = _resources(served)
        # Addresses without parameters, the busiest ones, are found without trying patterns.
        self._fixed = {path: resource for path, resource in resources.items() if "{" not in path}
        self._patterns = [(compile_path(path)[0], resource) for path, resource in resources.items() if "{" in path]
        self._not_http = Router(lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._not_http(scope, receive, send)
            return
        try:
            reply = await self._answer(Call(self, scope, receive))
        except Gone:
            return
        except Exception as error:
            reply = reply_to(error, scope["path"])
            if isinstance(error, StoreUnavailable):
                self._refused.warn(error)
            if reply.status == 500:
                logger.exception("gateway: %r %r failed, answered with 500", scope["method"], scope["path"])
        await reply(scope, receive, send)

    async def _answer(self, call: Call) -> ASGIApp:
        method, path = call.scope["method"], call.path
        _refuse_ambiguity(call)
        caller = ANYBODY if path in self._open_paths else self._admit(call)
        call.caller = caller.name
        resource = self._fixed.get(path) or self._match(call, path)
        route = resource.route(method)
        try:
            caller.need(route.scope)
        except Refusal as refusal:
            await audit.record_refusal(call, route.operation, refusal)
            raise
        return await route.endpoint(call)

    def _admit(self, call: Call) -> Caller:
        """Who comes in, or Refusal."""
        if self._keys:
            return self._keyed(call)
        self._neighbours.check(call.scope["method"], call.headers)
        return ANYBODY

    def _keyed(self, call: Call) -> Caller:
        try:
            return self._keys.check(call.headers)
        except Refusal as refusal:
            address, _ = call.scope.get("client") or ("unknown", 0)
            raise self._guessing.failed(address, refusal, b"authorization" not in call.headers) from None

    def _match(self, call: Call, path: str) -> Resource:
        if has_control_character(path):  # PostgreSQL takes no NUL as text, and no name holds a control character
            raise Refusal(
                "not-found", "the path holds a control character, and no name does; GET / lists the addresses"
            )
        for pattern, resource in self._patterns:
            if found := pattern.match(path):
                call.params = found.groupdict()
                return resource
        raise Refusal("not-found", "GET / lists the addresses; GET /openapi.json describes them")


class Resource:
    """One address: its routes by method."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = {"HEAD": routes["GET"], **routes} if "GET" in routes else dict(routes)

    def route(self, method: str) -> Route:
        found = self._routes.get(method)
        if found is None:
            allowed = ", ".join(sorted(self._routes))
            headers = [(b"allow", allowed.encode())]
            raise Refusal("method-not-allowed", f"this address takes {allowed}; got {method[:50]}", [], headers)
        return found


def create_app(
    control: Control, options: GatewayOptions | None = None, lifespan: Lifespan[Any] | None = None
) -> Gateway:
    """The gateway in front of `control`."""
    return Gateway(control, options or GatewayOptions(), lifespan)


def _refuse_ambiguity(call: Call) -> None:
    """Where two programs may read one request differently, somebody smuggles."""
    headers = call.headers
    if b"transfer-encoding" in headers and b"content-length" in headers:
        raise Refusal("malformed-request", "send Content-Length or Transfer-Encoding, not both", [], _CLOSE)
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise Refusal("malformed-request", "send Transfer-Encoding: chunked and no other coding", [], _CLOSE)
    if b"host" not in headers and call.scope.get("http_version") == "1.1":
        raise Refusal("malformed-request", "send the header Host, as RFC 9112 has it", [], _CLOSE)
    if len(headers) != len(call.scope["headers"]):
        names = [name for name, _ in call.scope["headers"]]
        for name in _SINGLE:
            if names.count(name) > 1:
                raise Refusal("malformed-request", f"send the header {name.decode()} once", [], _CLOSE)


def _resources(operations: Iterable[Operation]) -> dict[str, Resource]:
    by_path: dict[str, dict[str, Route]] = {}
    for operation in operations:
        endpoint = audit.recorded(operation) if operation.audited else operation.endpoint
        by_path.setdefault(operation.path, {})[operation.method] = Route(scope_of(operation), endpoint, operation)
    return {path: Resource(routes) for path, routes in by_path.items()}
