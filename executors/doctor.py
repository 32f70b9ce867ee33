"""Examines a deployment from outside: what `jobgate doctor` says, whether a gateway runs or not."""

from __future__ import annotations

import asyncio

from msgspec import structs

from executors.assembly import load_tasks, queue_order
from executors.examination import Doctor
from executors.finding import Diagnosis, Finding, Severity, worst_first
from executors.settings import Settings
from tasks.admission import Admission
from tasks.errors import ConfigurationError, JobgateError, StoreUnavailable
from tasks.registry import Registry
from tasks.store.backend import absent_file, make_backend, parse_url
from tasks.store.store import HEAD, JobStore

#: Seconds that a database may take to answer.
_PATIENCE = 15.0


def examine(settings: Settings) -> Diagnosis:
    """Runs `diagnose` on an event loop of its own."""
    return asyncio.run(diagnose(settings))


async def diagnose(settings: Settings) -> Diagnosis:
    """Examine a deployment from outside: no gateway has to run, and nothing is changed, made or migrated."""
    found: list[Finding] = []
    registry = _load(settings, found)
    loaded = not found
    admission = Admission(registry, settings.defaults)
    queues = [queue for group in queue_order(settings, admission) for queue in group]
    store = await _open(settings, found)
    try:
        seen = await Doctor(settings, registry, queues, store).diagnose()
    except StoreUnavailable as error:
        found.append(_database_away(error))
        seen = await Doctor(settings, registry, queues, None).diagnose()
    finally:
        if store is not None:
            await store.close()
    more = [finding for finding in seen.findings if finding.code != "no_tasks" or loaded]
    return structs.replace(seen, findings=worst_first([*found, *more]))


def _load(settings: Settings, found: list[Finding]) -> Registry:
    try:
        return load_tasks(settings)
    except ConfigurationError as error:
        found.append(
            Finding(
                code="tasks_not_loaded",
                severity=Severity.ERROR,
                detail=f"the task modules cannot be loaded: {error.detail}",
                remedy="mend the module, or take it out of TASK_MODULES: gateway and workers do not start so",
            )
        )
        return Registry()


async def _open(settings: Settings, found: list[Finding]) -> JobStore | None:
    """The store for reading, or None and the finding why."""
    try:
        url = parse_url(settings.database_url)
        if path := absent_file(url):
            found.append(_no_database(str(path)))
            return None
        store = JobStore(make_backend(url), settings.mode)
    except ConfigurationError as error:
        found.append(_database_wrong(error))
        return None
    try:
        revision = await asyncio.wait_for(store.revision(), _PATIENCE)
    except (StoreUnavailable, TimeoutError) as error:
        found.append(_database_away(error))
    else:
        if revision == HEAD:
            return store
        found.append(_schema_old(revision))
    await store.close()
    return None


def _no_database(path: str) -> Finding:
    return Finding(
        code="database_absent",
        severity=Severity.WARNING,
        detail=f"there is no database at {path} yet",
        done="the first gateway, worker or scheduler that starts makes it",
        remedy="if there should be one, DATABASE_URL is wrong: a relative path starts in the working directory, so a "
        "process started elsewhere has another file",
        data={"path": path},
    )


def _database_wrong(error: ConfigurationError) -> Finding:
    return Finding(
        code="database_wrong",
        severity=Severity.ERROR,
        detail=error.detail,
        remedy="set DATABASE_URL as docs/production.md says",
    )


def _database_away(error: Exception) -> Finding:
    words = error.detail.splitlines()[0] if isinstance(error, JobgateError) else "it does not answer"
    return Finding(
        code="database_away",
        severity=Severity.ERROR,
        detail=f"the database cannot be read: {words}",
        done="jobs are refused with 503; those that run are held by their workers for a lease",
        remedy="is it up, is DATABASE_URL right, does the network let this host through?",
    )


def _schema_old(revision: str | None) -> Finding:
    return Finding(
        code="schema_differs",
        severity=Severity.ERROR,
        detail=f"the database has schema {revision or 'none'}, and this release needs {HEAD}",
        done="SQLite is migrated at start; on PostgreSQL a process of this release does not start before it is",
        remedy="python -m tasks.store.migrate $DATABASE_URL",
        data={"found": revision, "needed": HEAD},
    )
