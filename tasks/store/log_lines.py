"""The SQL of forgetting log lines before their jobs go."""

from __future__ import annotations

from tasks.store.statements import FINAL
from tasks.store.store import JobStore

#: Lines that one transaction looks at: others write meanwhile.
CHUNK = 2_000
_OLD = "at < {now} - :age"
#: Of the next `:n` lines behind `:behind`, the last that is old enough. They stand in the order of their time.
_STRETCH = f"""
SELECT max(CASE WHEN {_OLD} THEN seq END)
FROM (SELECT seq, at FROM logs WHERE seq > :behind ORDER BY seq LIMIT :n) AS s"""
_DELETE = f"""
DELETE FROM logs WHERE seq > :behind AND seq <= :upto AND {_OLD}
AND EXISTS (SELECT 1 FROM jobs WHERE jobs.id = logs.job_id AND jobs.status IN {FINAL}) RETURNING seq"""


async def forget(store: JobStore, age: int) -> int:
    """Delete the lines of ended jobs that are more than `age` milliseconds old; how many those were."""
    behind = gone = 0
    while (upto := (await store.run(_STRETCH, behind=behind, age=age, n=CHUNK))[0][0]) is not None:
        gone += len(await store.run(_DELETE, behind=behind, upto=upto, age=age))
        behind = upto
    return gone
