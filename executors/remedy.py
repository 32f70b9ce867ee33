"""What helps against a failure, by its code: one sentence each, for whoever asks about one job or about all of them."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.job import ErrorCode

REMEDIES: Mapping[str, str] = {
    ErrorCode.TASK_ERROR: (
        "GET /api/v1/jobs/{id}/attempts has the traceback: mend the cause, then POST /api/v1/jobs/{id}/retry; "
        "a task that cannot succeed should raise FatalError, which ends it without retries"
    ),
    ErrorCode.TIMEOUT: "give the task a longer time_limit, or let each job do less",
    ErrorCode.WORKER_LOST: (
        "look why its worker died: memory (the kernel's log names processes it killed), a crash in C code, or a kill "
        "without drain; max_losses says how often a job is run again"
    ),
    ErrorCode.RESULT_NOT_SERIALISABLE: "let the task return plain JSON: no dates, sets, bytes or objects",
    ErrorCode.RESULT_TOO_LARGE: "return the place of a large result, or raise JOBGATE_RESULT_MAX_BYTES",
    ErrorCode.UNKNOWN_TASK: "give workers the same TASK_MODULES as the gateway, restart them, then retry the job",
    ErrorCode.INVALID_ARGUMENTS: "GET /api/v1/tasks/{name} has the arguments' schema: submit a new job that fits it",
    ErrorCode.CANCELLED: "POST /api/v1/jobs/{id}/retry runs it again, as a new job",
    ErrorCode.EXPIRED: "give it a later `expires`, or more slots to its queue",
}
