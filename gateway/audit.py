"""The audit trail: every change that somebody asked for, recorded where all of them pass."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.types import ASGIApp

from gateway import views
from gateway.call import Call, Endpoint, Gone
from gateway.operation import Operation
from gateway.problems import PROBLEMS, Refusal, refusal_of
from gateway.reply import Reply, ok
from tasks.audit import Entry
from tasks.errors import JobgateError, StoreUnavailable, printable
from tasks.moment import moment
from tasks.store import audit

log = logging.getLogger("jobgate.audit")

MAX_PAGE = 200
#: Refusals for a missing scope that are recorded of each caller, in so many seconds.
REFUSALS, INTERVAL = 60, 60.0
#: Who asks where there are no keys: only programs of this machine can.
LOOPBACK = "loopback"
_LINE = "audit: %(who)r %(action)s %(target)r answered %(status)d: %(outcome)r"
#: Characters of a target and of an outcome that are kept.
LENGTH = 2_000


class AuditQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    who: Annotated[str | None, Meta(description="The name of an API key, or loopback")] = None
    action: Annotated[str | None, Meta(description="An operationId of this description")] = None
    page_size: Annotated[int, Meta(ge=1, description=f"More than {MAX_PAGE} means {MAX_PAGE}")] = 50
    page_token: Annotated[str, Meta(pattern=r"^[0-9]{0,18}$", description="next_page_token of the page before")] = ""


class EntryView(Struct, frozen=True, kw_only=True):
    """What somebody asked for: `action` is an operationId, `target` the address, `status` and `outcome` the answer."""

    seq: int
    at: views.Moment
    who: str
    action: str
    target: str
    status: int
    outcome: str


class AuditPage(Struct, frozen=True, kw_only=True):
    """The latest first; `next_page_token` is empty on the last page."""

    entries: Sequence[EntryView]
    next_page_token: str


async def trail(call: Call) -> Reply:
    wanted = call.query(AuditQuery)
    size = min(wanted.page_size, MAX_PAGE)
    conditions = {name: value for name in ("who", "action") if (value := getattr(wanted, name)) is not None}
    before = int(wanted.page_token) if wanted.page_token else None
    entries = await call.control.store.audit(conditions, size + 1, before)
    token = str(entries[size - 1].seq) if len(entries) > size else ""
    return ok(AuditPage(entries=[_view(entry) for entry in entries[:size]], next_page_token=token))


def recorded(operation: Operation) -> Endpoint:
    """The operation's endpoint, and a row in the trail for each time that it is used, whatever it answers."""

    async def endpoint(call: Call) -> ASGIApp:
        try:
            reply = await operation.endpoint(call)
        except Gone:  # nobody waits for an answer
            raise
        except StoreUnavailable as error:  # the log alone can be written
            refusal = refusal_of(error)
            log.info(_LINE, _entry(call, operation, *_of(refusal)))
            raise refusal from error
        except Exception as error:
            await _record(call, operation, *_of(refusal_of(error)))
            raise
        await _record(call, operation, getattr(reply, "status", 200), call.outcome)
        return reply

    return endpoint


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Returns "field: old -> new" for each field that differs; arguments are only named, for they may hold secrets."""
    found = [
        name if name in ("args", "kwargs") else f"{name}: {_short(before.get(name))} -> {_short(after.get(name))}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    return "; ".join(found) or "nothing changed"


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 100 else f"{text[:99]}…"


async def record_refusal(call: Call, operation: Operation, refusal: Refusal) -> None:
    """Records that the caller's key does not allow an operation which the trail records."""
    if operation.audited and call.gateway.refusals.allows(call.caller, time.monotonic()):
        await _record(call, operation, *_of(refusal))


class RefusalCap:
    """At most REFUSALS rows per caller within INTERVAL seconds: a key that allows nothing must not fill the store."""

    def __init__(self) -> None:
        self._recorded: dict[str, tuple[float, int]] = {}

    def allows(self, caller: str, now: float) -> bool:
        since, count = self._recorded.get(caller, (now, 0))
        if now - since >= INTERVAL:
            since, count = now, 0
        self._recorded[caller] = since, count + 1
        if count == REFUSALS:
            log.warning("audit: more refusals of %r are not recorded within %g s", caller, INTERVAL)
        return count < REFUSALS


async def _record(call: Call, operation: Operation, status: int, outcome: str) -> None:
    values = _entry(call, operation, status, outcome)
    # A second copy, for a store that an intruder owns.
    log.info(_LINE, values)
    try:
        await call.control.store.run(audit.RECORD, None, **values)
    except JobgateError:  # what was done is done: the answer must say so
        log.exception("audit: the store has no row for %r", values)


def _entry(call: Call, operation: Operation, status: int, outcome: str) -> dict[str, Any]:
    query = call.scope["query_string"].decode("latin-1")
    return {
        "who": call.caller or LOOPBACK,
        "action": operation.id,
        "target": printable(f"{call.path}?{query}" if query else call.path, LENGTH),
        "status": status,
        "outcome": printable(outcome, LENGTH),
    }


def _of(refusal: Refusal) -> tuple[int, str]:
    """The status and the outcome of an entry."""
    return PROBLEMS[refusal.kind][0], f"{refusal.kind}: {refusal.detail}"


def _view(entry: Entry) -> EntryView:
    return EntryView(
        seq=entry.seq,
        at=moment(entry.at),
        who=entry.who,
        action=entry.action,
        target=entry.target,
        status=entry.status,
        outcome=entry.outcome,
    )
