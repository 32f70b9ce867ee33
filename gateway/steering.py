"""The table of contents for operators: queues, bulk actions, the audit trail."""

from __future__ import annotations

from gateway import audit, bulk, limits, queues, workers
from gateway.operation import Operation, get, post

_STORE = ("store-unavailable",)
_QUEUE = ("unknown-queue", "invalid-parameters", *_STORE)
_BODY = ("malformed-json", "request-timeout", "payload-too-large", "unsupported-media-type", "invalid-submission")

_ONE = "/api/v1/queues/{queue}"
_RUN = {200: bulk.BulkView, 202: bulk.BulkView}

QUEUES = (
    get(
        "/api/v1/queues", queues.list_queues, "listQueues", "Queues: depth, age, rate, consumers", "queues",
        queues.QueueList, problems=_STORE,
    ),
    post(
        f"{_ONE}/pause", queues.pause, "pauseQueue", "Stop serving a queue", "queues", {200: queues.QueueState},
        query=queues.PauseQuery, problems=(*_QUEUE, "state-conflict"),
    ),
    post(
        f"{_ONE}/resume", queues.resume, "resumeQueue", "Serve it again", "queues", {200: queues.QueueState},
        problems=(*_QUEUE, "state-conflict"),
    ),
    post(
        f"{_ONE}/purge", queues.purge, "purgeQueue", "Cancel what waits in a queue", "queues", _RUN,
        query=queues.PurgeQuery, problems=_QUEUE,
    ),
    post(
        f"{_ONE}/move", queues.move, "moveJobs", "Move what waits to another queue", "queues", _RUN,
        query=queues.MoveQuery, problems=_QUEUE,
    ),
)  # fmt: skip

BULK = (
    post(
        "/api/v1/bulk", bulk.begin, "beginBulk", "Do something to all jobs of a filter", "bulk", _RUN,
        body=bulk.BulkWish, query=bulk.BulkQuery, problems=(*_BODY, "invalid-parameters", "unknown-queue", *_STORE),
        example={"action": "cancel", "filter": {"task": ["tasks.file.analyze_file"]}, "dry_run": True},
    ),
    get("/api/v1/bulk", bulk.latest, "listBulk", "The latest bulk actions", "bulk", bulk.BulkList, problems=_STORE),
    get(
        "/api/v1/bulk/{bulk_id}", bulk.read, "readBulk", "How far a bulk action is", "bulk", bulk.BulkView,
        problems=("bulk-not-found", *_STORE),
    ),
)  # fmt: skip

AUDIT = (
    get(
        "/api/v1/audit", audit.trail, "readAudit", "What operators asked for, and what came of it", "audit",
        audit.AuditPage, query=audit.AuditQuery, problems=("invalid-parameters", *_STORE),
    ),
)  # fmt: skip

WORKERS = (
    get(
        "/api/v1/workers", workers.list_workers, "listWorkers", "Processes that run jobs", "workers",
        workers.WorkerList, problems=_STORE,
    ),
    get(
        "/api/v1/workers/commands", workers.list_commands, "listCommands", "What workers were told last", "workers",
        workers.CommandList, problems=_STORE,
    ),
    post(
        "/api/v1/workers/{worker}/{verb}", workers.command, "commandWorker", "Tell a worker, or all, what to do",
        "workers", {200: workers.CommandList}, query=workers.CommandQuery,
        problems=("not-found", "worker-not-found", "unknown-queue", "invalid-parameters", *_STORE),
    ),
)  # fmt: skip

_LIMITS = "/api/v1/tasks/{name}/limits"
_LIMITED = ("task-not-found", *_STORE)

LIMITS = (
    get(_LIMITS, limits.read, "readLimits", "What limits a task", "tasks", limits.LimitView, problems=_LIMITED),
    Operation(
        method="PUT", path=_LIMITS, endpoint=limits.override, id="setLimits", summary="Limit a task from now on",
        tag="tasks", answers={200: limits.LimitView}, body=limits.LimitWish, problems=(*_BODY, *_LIMITED),
        example={"rate_limit": "10/m", "concurrency": 2},
    ),
    Operation(
        method="DELETE", path=_LIMITS, endpoint=limits.reset, id="resetLimits", summary="What its code declares holds",
        tag="tasks", answers={200: limits.LimitView}, problems=_LIMITED,
    ),
)  # fmt: skip

STEERING: tuple[Operation, ...] = (*QUEUES, *WORKERS, *BULK, *LIMITS, *AUDIT)
