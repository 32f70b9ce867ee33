"""Every refusal that HTTP callers meet, as RFC 9457 problem documents: one table, described in docs/http.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec
from msgspec import Struct, structs

from gateway.reply import Headers, Reply
from tasks import errors

MEDIA_TYPE = b"application/problem+json"

#: Characters of each text in a document: the beginning and the end of a longer one are kept.
MAX_TEXT = 1_000
_BEGINNING, _END = 500, 400

#: The last part of a problem's `type`, its status and its title.
PROBLEMS: Mapping[str, tuple[int, str]] = {
    "malformed-request": (400, "The request cannot be understood"),
    "malformed-json": (400, "The body is not JSON that we take"),
    "unauthorized": (401, "An API key is needed"),
    "forbidden": (403, "This caller may not do that"),
    "missing-scope": (403, "The API key does not allow that"),
    "not-found": (404, "There is nothing at this address"),
    "job-not-found": (404, "There is no such job"),
    "task-not-found": (404, "There is no such task"),
    "bulk-not-found": (404, "There is no such bulk action"),
    "worker-not-found": (404, "There is no such worker"),
    "schedule-not-found": (404, "There is no such schedule"),
    "method-not-allowed": (405, "This address does not take that method"),
    "request-timeout": (408, "The request took too long to arrive"),
    "state-conflict": (409, "The job's state does not allow this"),
    "schedule-exists": (409, "Another schedule has that name"),
    "not-configured": (409, "This deployment lacks what the task needs"),
    "job-failed": (409, "The job has no result: it did not succeed"),
    "capability-unsupported": (409, "This executor cannot do that"),
    "result-expired": (410, "The result was kept for its time and is gone"),
    "payload-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be JSON"),
    "misdirected-request": (421, "This server does not answer to that Host"),
    "invalid-submission": (422, "The submission cannot be accepted"),
    "invalid-schedule": (422, "The schedule cannot be taken"),
    "invalid-arguments": (422, "The arguments do not fit the task"),
    "invalid-parameters": (422, "A query parameter or header cannot be accepted"),
    "unknown-task": (422, "No task of that name is registered"),
    "unknown-queue": (422, "No queue of that name is configured"),
    "idempotency-mismatch": (422, "The Idempotency-Key belongs to another request"),
    "too-many-failures": (429, "Too many requests without a valid key"),
    "headers-too-large": (431, "The request's head is too large"),
    "internal-error": (500, "Something went wrong on our side"),
    "store-unavailable": (503, "The store did not answer"),
    "too-many-streams": (503, "Too many streams are open"),
    "not-ready": (503, "The server takes no new work"),
}

_UNAVAILABLE = "the store does not answer now; nothing was changed that was not confirmed; try again"
_MISMATCH = "the database is not as this release needs it, and nothing was changed; /readyz says what is missing"

#: Exceptions of the floors below, most particular first.
_KINDS: tuple[tuple[type[errors.JobgateError], str], ...] = (
    (errors.InvalidArguments, "invalid-arguments"),
    (errors.UnknownTask, "unknown-task"),
    (errors.UnknownQueue, "unknown-queue"),
    (errors.InvalidSchedule, "invalid-schedule"),
    (errors.IdempotencyMismatch, "idempotency-mismatch"),
    (errors.NotConfigured, "not-configured"),
    (errors.InvalidSubmission, "invalid-submission"),
    (errors.NotFound, "not-found"),
    (errors.JobNotFound, "job-not-found"),
    (errors.BulkNotFound, "bulk-not-found"),
    (errors.UnknownWorker, "worker-not-found"),
    (errors.ScheduleNotFound, "schedule-not-found"),
    (errors.ScheduleExists, "schedule-exists"),
    (errors.StateConflict, "state-conflict"),
    (errors.Unsupported, "capability-unsupported"),
    (errors.StoreUnavailable, "store-unavailable"),
)


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What exactly is wrong: in the body (an RFC 6901 pointer), in the query (a parameter) or in a header."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    errors: Sequence[Fault] = ()


class Refusal(Exception):
    """Raised anywhere in the gateway to answer with a problem; `kind` is a key of PROBLEMS."""

    def __init__(self, kind: str, detail: str, faults: Sequence[Fault] = (), headers: Headers = ()) -> None:
        # Most errors repeat a piece of the request, which may have a megabyte: here none of them can be forgotten.
        self.detail = _shortened(detail)
        super().__init__(self.detail)
        self.kind = kind
        self.faults = tuple(map(_short_fault, faults))  # an empty tuple is the default, which a document leaves out
        self.headers = headers


def _shortened(text: str) -> str:
    """`text`, without its middle where it is long: what is wrong stands first, and what to do stands last."""
    return text if len(text) <= MAX_TEXT else f"{text[:_BEGINNING]}…{text[-_END:]}"


def _short_fault(fault: Fault) -> Fault:
    places = structs.asdict(fault)
    return Fault(**{name: value and _shortened(value) for name, value in places.items()})


def in_body(kind: str, detail: str, pointer: str) -> Refusal:
    return Refusal(kind, detail, [Fault(pointer=pointer, detail=detail)])


def in_parameter(name: str, detail: str) -> Refusal:
    return Refusal("invalid-parameters", f"{name}: {detail}", [Fault(parameter=name, detail=detail)])


def in_header(name: str, detail: str) -> Refusal:
    return Refusal("invalid-parameters", f"{name}: {detail}", [Fault(header=name, detail=detail)])


def refusal_of(error: Exception) -> Refusal:
    """The refusal that an exception from below means; anything unforeseen is an internal error without words."""
    if isinstance(error, Refusal):
        return error
    kind = next((kind for known, kind in _KINDS if isinstance(error, known)), None)
    if kind is None or not isinstance(error, errors.JobgateError):
        return Refusal("internal-error", "the server's log has the reason; nothing was changed that was not confirmed")
    if isinstance(error, errors.UnknownQueue) and not error.pointer:  # it stood in the path
        return Refusal(kind, error.detail)
    if isinstance(error, errors.InvalidSubmission) and kind != "idempotency-mismatch":
        return in_body(kind, error.detail, error.pointer)
    if isinstance(error, errors.StoreUnavailable):
        # A driver's words name hosts, users and statements: the app logs them.
        detail = _MISMATCH if isinstance(error, errors.SchemaMismatch) else _UNAVAILABLE
        return Refusal(kind, detail, headers=[(b"retry-after", b"1")])
    return Refusal(kind, error.detail)


def document(refusal: Refusal, path: str = "") -> bytes:
    status, title = PROBLEMS[refusal.kind]
    problem = Problem(
        type=f"/problems/{refusal.kind}",
        title=title,
        status=status,
        detail=refusal.detail,
        instance=quote(_shortened(path)),
        errors=refusal.faults,
    )
    return msgspec.json.encode(problem)


def reply_to(error: Exception, path: str) -> Reply:
    refusal = refusal_of(error)
    status, _ = PROBLEMS[refusal.kind]
    return Reply(status, document(refusal, path), refusal.headers, MEDIA_TYPE)
