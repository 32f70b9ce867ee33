"""The audit trail: every change that somebody asked for, recorded where all of them pass."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from starlette.types import ASGIApp

from gateway import views
from gateway.call import Call, Endpoint, Gone
from gateway.operation import Operation
from gateway.problems import PROBLEMS, refusal_of
from gateway.reply import Reply, ok
from tasks.audit import Entry
from tasks.errors import JobgateError, StoreUnavailable, printable
from tasks.moment import moment
from tasks.store import audit

log = logging.getLogger("jobgate.audit")

MAX_PAGE = 200
#: Who asks where there are no keys: only programs of this machine can.
LOOPBACK = "loopback"
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
        except (Gone, StoreUnavailable):  # nobody waits for an answer, or nothing can be written
            raise
        except Exception as error:
            refusal = refusal_of(error)
            await _record(call, operation, PROBLEMS[refusal.kind][0], f"{refusal.kind}: {refusal.detail}")
            raise
        await _record(call, operation, getattr(reply, "status", 200), call.outcome)
        return reply

    return endpoint


async def _record(call: Call, operation: Operation, status: int, outcome: str) -> None:
    query = call.scope["query_string"].decode("latin-1")
    values = {
        "who": call.caller or LOOPBACK,
        "action": operation.id,
        "target": printable(f"{call.path}?{query}" if query else call.path, LENGTH),
        "status": status,
        "outcome": printable(outcome, LENGTH),
    }
    try:
        await call.control.store.run(audit.RECORD, None, **values)
    except JobgateError:  # what was done is done: the answer must say so
        log.exception("the audit trail has no row for %s", values)


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
