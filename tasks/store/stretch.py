"""What a stretch of events adds to the tallies: the SQL that groups it, and what each group counts as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row

from tasks.job import ErrorCode, State

#: Upper bounds of the histograms' buckets in seconds; above the last one comes +Inf. A bound may be added or taken
#: away later: what was counted stays in the table under the old bound.
RUNTIME = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)
WAIT = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
BOUNDS: Mapping[str, tuple[float, ...]] = {"runtime": RUNTIME, "wait": WAIT}

#: No name is longer in the tallies.
MAX_NAME = 120
#: What stands for the names beyond a bound.
OTHER = "other"


class Order(NamedTuple):
    """By dialect: all events after a position, and those of them that no late commit can precede; their order; JSON as
    a table; and what the transaction that reads them is told first."""

    later: str
    after: str
    by: str
    rows: str
    first: str = ""


# SQLite has one writer: seq is commit order. On PostgreSQL a sequence's lower number may be committed later; below the
# oldest running transaction nothing can appear any more.
ORDER = {
    "sqlite": Order("seq > :seq", "seq > :seq", "seq", "json_each(:rows)"),
    "postgresql": Order(
        "(txid, seq) > (:txid, :seq)",
        "(txid, seq) > (:txid, :seq) AND txid < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)",
        "txid, seq",
        "jsonb_array_elements(CAST(:rows AS jsonb)) AS r(value)",
        # A table that grew by a million rows since it was analysed looks small to the planner, which would read it all.
        "SET LOCAL enable_seqscan = off",
    ),
}


def _bucket(bounds: Sequence[float]) -> str:
    arms = " ".join(f"WHEN seconds <= {bound!r} THEN {n}" for n, bound in enumerate(bounds))
    return f"CASE {arms} ELSE {len(bounds)} END"


def stretch_of(order: Order) -> str:
    """The next `:limit` events in groups that count alike; each row says where the cursor is and where they end.

    No events: one row, with nothing but the cursor. Materialised, or `seconds` would be computed for every bucket.
    """
    return f"""WITH stretch AS MATERIALIZED (
        SELECT txid, seq, task, queue, was, status, error_code, error_type,
            CASE WHEN status = 'STARTED' THEN CASE WHEN started_at > due_at
                    THEN CAST(started_at - due_at AS DOUBLE PRECISION) / 1000 ELSE 0.0 END
                WHEN was = 'STARTED' THEN runtime END AS seconds
        FROM events WHERE {order.after} ORDER BY {order.by} LIMIT :limit)
    SELECT c.txid, c.seq, last.txid AS end_txid, last.seq AS end_seq, alike.*
    FROM cursors AS c LEFT JOIN (SELECT txid, seq FROM stretch ORDER BY txid DESC, seq DESC LIMIT 1) AS last ON true
    LEFT JOIN (SELECT task, queue, was, status, error_code, error_type,
            CASE WHEN seconds IS NULL THEN NULL WHEN status = 'STARTED' THEN {_bucket(WAIT)} ELSE {_bucket(RUNTIME)} END
                AS bucket, count(*) AS number, sum(seconds) AS seconds
        FROM stretch GROUP BY 1, 2, 3, 4, 5, 6, 7) AS alike ON true
    WHERE c.name = 'tallies'"""


def uncounted(order: Order, clock: str) -> str:
    """How many events are later than a position, `:limit` at most, and the age of the oldest of them in seconds."""
    return f"""SELECT count(*), COALESCE({clock} - min(at), 0) / 1000.0
        FROM (SELECT at FROM events WHERE {order.later} ORDER BY {order.by} LIMIT :limit) AS later"""


def bound_label(bounds: Sequence[float], bucket: int) -> str:
    """How a bucket is called, in the table and in the exposition."""
    return repr(bounds[bucket]) if bucket < len(bounds) else "+Inf"


def _kind(was: str | None, status: str, code: str | None) -> str:
    """Which counter a transition belongs to."""
    if was is None:
        return "submitted"
    if status == State.REVOKED:
        return "expired" if code == ErrorCode.EXPIRED else "cancelled"
    if status == State.PENDING or (status == State.RETRY and code is None):
        return "interrupted"
    return {"STARTED": "started", "SUCCESS": "succeeded", "FAILURE": "failed", "RETRY": "retried"}[status]


def counted(group: Row[Any]) -> Iterator[tuple[str, str, int, float]]:
    """Name, label, count and sum of everything that a group of events adds to."""
    kind, number = _kind(group.was, group.status, group.error_code), group.number
    exception = (group.error_type or group.error_code or OTHER)[:MAX_NAME]
    yield kind, exception if kind == "failed" else "", number, 0.0
    lost = group.was == State.STARTED and group.error_code == ErrorCode.WORKER_LOST
    if lost:
        yield "lost", "", number, 0.0
    elif kind == "started":
        yield "wait", bound_label(WAIT, group.bucket), number, group.seconds
    elif group.bucket is not None and kind != "interrupted":
        # A lost attempt has no runtime: what its row says is how long its lease lasted.
        yield "runtime", bound_label(RUNTIME, group.bucket), number, group.seconds
