"""For those who run the server: is it alive, is it ready, what does it count, what does it offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from executors.control import Control
from gateway.call import Call
from gateway.problems import Refusal
from gateway.reply import Reply, ok
from gateway.views import public
from metrics import exposition
from metrics.negotiation import wants_gzip, wants_openmetrics
from tasks.errors import SchemaMismatch, StoreUnavailable
from tasks.repeated_warning import RepeatedWarning
from tasks.store.store import JobStore

LINKS = {
    "jobs": "/api/v1/jobs",
    "tasks": "/api/v1/tasks",
    "schedules": "/api/v1/schedules",
    "queues": "/api/v1/queues",
    "workers": "/api/v1/workers",
    "stats": "/api/v1/stats",
    "capabilities": "/api/v1/capabilities",
    "metrics": "/metrics",
    "live": "/livez",
    "ready": "/readyz?verbose",
    "openapi": "/openapi.json",
}


class Index(Struct, frozen=True, kw_only=True):
    """Where to go from here."""

    name: str
    mode: str
    links: Mapping[str, str]


class Liveness(Struct, frozen=True, kw_only=True):
    status: str


class ReadyQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`verbose` may stand alone."""

    verbose: str | None = None


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at; what is degraded does not make the server unready."""

    name: str
    status: str
    detail: str


class Readiness(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`status` is "ready", or "degraded" while jobs are taken and written down, but not carried as they should be."""

    status: str
    checks: tuple[Check, ...] = ()


async def index(call: Call) -> Reply:
    return ok(Index(name="Jobgate", mode=call.control.mode, links=LINKS))


async def live(call: Call) -> Reply:
    return ok(Liveness(status="alive"))


async def ready(call: Call) -> Reply:
    """Ready means: a job posted now would be written down. A carrier in trouble is told, and no reason to say no."""
    verbose = call.query(ReadyQuery).verbose is not None
    if call.gateway.draining:
        raise Refusal("not-ready", "the server is ending", [], [(b"retry-after", b"1")])
    checks = await call.gateway.checks.get()
    status = "ready" if all(check.status == "ok" for check in checks) else "degraded"
    return ok(Readiness(status=status, checks=checks if verbose else ()))


async def look(control: Control, not_ready: RepeatedWarning) -> tuple[Check, ...]:
    """The checks of `/readyz`; Refusal where the store takes no jobs. Anybody may ask, so it is not made for each."""
    await _check_store(control.store, not_ready)
    carrier = await control.health()
    store = Check(name="store", status="ok", detail="reads and writes are answered, and its schema is ours")
    executor = Check(name="executor", status="ok" if carrier.ok else "degraded", detail=public(carrier))
    return store, executor, _check_queues(await control.store.unserved())


def _check_queues(unserved: Sequence[str]) -> Check:
    """Their names are not for everybody."""
    if not unserved:
        return Check(name="queues", status="ok", detail="every queue with due jobs is served")
    detail = f"jobs are due in {len(unserved)} queues that no live worker serves; GET /api/v1/queues names them"
    return Check(name="queues", status="degraded", detail=detail)


async def _check_store(store: JobStore, not_ready: RepeatedWarning) -> None:
    try:
        await store.check_schema()
    except StoreUnavailable as error:
        # Anybody may ask whether we are ready: hosts, users and statements are for the log only.
        not_ready.warn(f"the store: {error}")
        detail = error.detail if isinstance(error, SchemaMismatch) else "it cannot be reached"
        raise Refusal("not-ready", f"store: {detail}", [], [(b"retry-after", b"1")]) from error
    if (problem := await store.health.write_problem()) is not None:
        not_ready.warn(f"the store takes no writes: {problem}")
        causes = "a full disk, a read-only database, files that are gone"
        detail = f"store: it takes no writes ({causes}); the server's log has the reason"
        raise Refusal("not-ready", detail, [], [(b"retry-after", b"1")])


async def metrics(call: Call) -> Reply:
    openmetrics = wants_openmetrics(call.headers.get(b"accept", b"").decode("latin-1"))
    compressed = wants_gzip(call.headers.get(b"accept-encoding", b"").decode("latin-1"))
    page = await call.gateway.exposition.render(openmetrics, compressed)
    headers = [(b"vary", b"accept, accept-encoding")]
    if compressed:
        headers.append((b"content-encoding", b"gzip"))
    return Reply(200, page, headers, exposition.CONTENT_TYPE[openmetrics].encode())


async def openapi(call: Call) -> Reply:
    return Reply(200, call.gateway.description)
