"""The table of contents: every address, what answers there, and what it says in OpenAPI."""

from __future__ import annotations

from typing import Any

from gateway import assistant, diagnosis, jobs, ops, overview, steering, stream, views
from gateway.intake import Batch
from gateway.operation import Operation
from gateway.operation import get as _get
from gateway.operation import post as _post
from gateway.schedule_routes import SCHEDULES
from tasks.job import Submission

SUBMIT_PROBLEMS = (
    "invalid-submission", "invalid-arguments", "unknown-task", "unknown-queue", "not-configured", "store-unavailable",
)  # fmt: skip
BODY_PROBLEMS = ("malformed-json", "request-timeout", "payload-too-large", "unsupported-media-type")
STORE = ("store-unavailable",)
JOB = ("job-not-found", "store-unavailable")
STEER = (*JOB, "state-conflict")

ANALYZE: dict[str, Any] = {"task": "tasks.file.analyze_file", "kwargs": {"path": "report.pdf"}}

_JOB = "/api/v1/jobs/{id}"
_TASKS = "/api/v1/tasks"

JOBS = (
    _post(
        "/api/v1/jobs",
        jobs.submit,
        "submitJob",
        "Submit a job",
        "jobs",
        {202: views.JobView, 200: views.JobView},
        body=Submission,
        headers=("Idempotency-Key", "Prefer"),
        example=ANALYZE,
        problems=(*BODY_PROBLEMS, *SUBMIT_PROBLEMS, "idempotency-mismatch", "invalid-parameters", "state-conflict"),
        audit=False,
    ),
    _post(
        "/api/v1/jobs:batch",
        jobs.submit_batch,
        "submitJobs",
        "Submit up to 10,000 jobs: all or none",
        "jobs",
        {202: views.BatchView},
        body=Batch,
        problems=(*BODY_PROBLEMS, *SUBMIT_PROBLEMS),
        example={"jobs": [ANALYZE]},
        audit=False,
    ),
    _get(
        "/api/v1/jobs",
        jobs.list_jobs,
        "listJobs",
        "List jobs, newest first",
        "jobs",
        views.JobPage,
        query=jobs.ListQuery,
        problems=("invalid-parameters", *STORE),
    ),
    _get(
        _JOB,
        jobs.read,
        "readJob",
        "Read a job, or wait for its end",
        "jobs",
        views.JobView,
        query=jobs.WaitQuery,
        headers=("Prefer", "If-None-Match"),
        problems=(*JOB, "invalid-parameters"),
    ),
    _get(
        f"{_JOB}/result",
        jobs.result,
        "readResult",
        "Read what the task returned",
        "jobs",
        Any,
        headers=("If-None-Match",),
        problems=(*STEER, "job-failed", "result-expired"),
    ),
    _get(
        f"{_JOB}/why",
        diagnosis.why,
        "explainJob",
        "Why it does not run, or did not end",
        "jobs",
        diagnosis.WhyView,
        problems=JOB,
    ),
    _get(
        f"{_JOB}/attempts",
        jobs.attempts,
        "listAttempts",
        "List a job's ended attempts",
        "jobs",
        views.AttemptList,
        problems=JOB,
    ),
    _get(
        f"{_JOB}/logs",
        jobs.logs,
        "readLogs",
        "Read what the task logged",
        "jobs",
        views.LogPage,
        query=jobs.LogQuery,
        problems=(*JOB, "invalid-parameters"),
    ),
    _get(
        f"{_JOB}/events",
        stream.events,
        "watchJob",
        "Watch a job: server-sent events",
        "jobs",
        "text/event-stream",
        headers=("Last-Event-ID",),
        problems=(*JOB, "too-many-streams"),
    ),
    _post(
        f"{_JOB}/cancel", jobs.cancel, "cancelJob", "Stop a job", "jobs", {200: views.CancellationView}, problems=STEER
    ),
    _post(f"{_JOB}/hold", jobs.hold, "holdJob", "Keep a waiting job", "jobs", {200: views.JobView}, problems=STEER),
    _post(f"{_JOB}/release", jobs.release, "releaseJob", "Let it start", "jobs", {200: views.JobView}, problems=STEER),
    _post(
        f"{_JOB}/retry",
        jobs.retry,
        "retryJob",
        "Run an ended job again, as a new job",
        "jobs",
        {202: views.JobView},
        problems=(*STEER, *SUBMIT_PROBLEMS),
    ),
)

# Before the registry's own addresses: a task named `list` or `stats` is found in the list of tasks.
ASSISTANT = (
    _get(
        f"{_TASKS}/status/{{task_id}}",
        assistant.status,
        "taskStatus",
        "Status of a task (a job)",
        "assistant",
        assistant.TaskStatus,
        problems=JOB,
    ),
    _get(
        f"{_TASKS}/list",
        assistant.listing,
        "taskListing",
        "Latest tasks (jobs)",
        "assistant",
        assistant.TaskListing,
        query=assistant.ListQuery,
        problems=("invalid-parameters", *STORE),
    ),
    _post(
        f"{_TASKS}/cancel/{{task_id}}",
        assistant.cancel,
        "cancelTask",
        "Stop a task (a job)",
        "assistant",
        {200: assistant.Receipt},
        problems=STEER,
    ),
    _post(
        f"{_TASKS}/retry/{{task_id}}",
        assistant.retry,
        "retryTask",
        "Run an ended task (job) again",
        "assistant",
        {202: assistant.Receipt},
        problems=(*STEER, *SUBMIT_PROBLEMS),
    ),
    _get(
        f"{_TASKS}/stats",
        assistant.stats,
        "taskStats",
        "Counts by state",
        "assistant",
        assistant.TaskStats,
        problems=STORE,
    ),
    _post(
        f"{_TASKS}/ai/generate",
        assistant.generate,
        "generate",
        "Ask the assistant",
        "assistant",
        {202: assistant.Receipt},
        body=dict[str, Any],
        problems=(*BODY_PROBLEMS, *SUBMIT_PROBLEMS),
        audit=False,
    ),
    _get(
        f"{_TASKS}/workers",
        assistant.workers,
        "taskWorkers",
        "Workers by name",
        "assistant",
        assistant.WorkerListing,
        problems=STORE,
    ),
    _post(
        f"{_TASKS}/workers/pool/restart",
        assistant.restart_pool,
        "restartPool",
        "Restart a worker's pool, with the code as it is",
        "assistant",
        {200: assistant.WorkerReceipt},
        query=assistant.PoolQuery,
        problems=("worker-not-found", "invalid-parameters", *STORE),
    ),
    _post(
        f"{_TASKS}/workers/shutdown",
        assistant.shut_down,
        "shutDownWorkers",
        "Shut workers down",
        "assistant",
        {200: assistant.WorkerReceipt},
        query=assistant.PoolQuery,
        problems=("worker-not-found", "invalid-parameters", *STORE),
    ),
)

OVERVIEW = (
    _get(_TASKS, overview.list_tasks, "listTasks", "Registered tasks", "overview", overview.TaskList),
    _get(
        f"{_TASKS}/{{name}}",
        overview.read_task,
        "readTask",
        "One registered task",
        "overview",
        overview.TaskView,
        problems=("task-not-found",),
    ),
    _get(
        "/api/v1/stats",
        overview.stats,
        "readStats",
        "Jobs by state, workers, slots",
        "overview",
        overview.Stats,
        problems=STORE,
    ),
    _get(
        "/api/v1/capabilities",
        overview.capabilities,
        "readCapabilities",
        "What the executor can do",
        "overview",
        overview.CapabilitiesView,
    ),
)

OPERATING = (
    _get(
        "/api/v1/doctor",
        diagnosis.examine,
        "examine",
        "What disagrees: record, broker, workers, settings",
        "operating",
        diagnosis.DiagnosisView,
        problems=("capability-unsupported", *STORE),
    ),
    _get("/", ops.index, "readIndex", "Where to go from here", "operating", ops.Index),
    _get("/livez", ops.live, "readLiveness", "Is the process alive", "operating", ops.Liveness),
    _get(
        "/readyz",
        ops.ready,
        "readReadiness",
        "Would a job be accepted now",
        "operating",
        ops.Readiness,
        query=ops.ReadyQuery,
        problems=("not-ready", "invalid-parameters"),
    ),
    _get("/metrics", ops.metrics, "readMetrics", "Metrics for Prometheus", "operating", "text/plain", problems=STORE),
    _get("/openapi.json", ops.openapi, "readOpenapi", "This description", "operating", dict[str, Any]),
)

OPERATIONS: tuple[Operation, ...] = (*JOBS, *SCHEDULES, *ASSISTANT, *OVERVIEW, *steering.STEERING, *OPERATING)
