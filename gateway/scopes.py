"""What an API key allows, and what each address needs."""

from __future__ import annotations

from gateway.operation import Operation

READ, SUBMIT, CONTROL, ADMIN = "read", "submit", "control", "admin"
#: Each stands for itself, `admin` for all of them.
SCOPES = (READ, SUBMIT, CONTROL, ADMIN)

_SUBMITS = frozenset({"submitJob", "submitJobs", "generate"})
_CONTROLS = frozenset({
    "cancelJob", "holdJob", "releaseJob", "retryJob", "cancelTask", "retryTask",
    "pauseSchedule", "resumeSchedule", "runSchedule", "runScheduledTask",
})  # fmt: skip
_SECRETS = frozenset({"readAudit", "examine"})


def scope_of(operation: Operation) -> str:
    """What a key needs for it: reading for what changes nothing, and `admin` for whatever is not named here."""
    if operation.scope:
        return operation.scope
    if operation.method == "GET":
        return ADMIN if operation.id in _SECRETS else READ
    if operation.id in _SUBMITS:
        return SUBMIT
    return CONTROL if operation.id in _CONTROLS else ADMIN
