"""The run: one episode being made. Every move is one conditional update; a run that has ended never changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tasks.admission import new_id
from tasks.errors import NotFound, StateConflict, printable
from tasks.job import FINAL, State
from tasks.packs.podcast.source import now
from tasks.packs.podcast.tables import DATABASE, RUN_SOURCES, RUNS

OPEN = (State.PENDING, State.STARTED)
#: Why a run failed that was not made in its time.
OVERDUE = "it was not made within its time"
#: Of `error`, characters.
_WORDS = 2000


class Run(Struct, frozen=True, kw_only=True):
    """One row. Times are milliseconds since the epoch. A run without `job_id` was created but not started."""

    id: str
    episode_profile: str
    speaker_profile: str
    episode_name: str
    status: State
    job_id: str | None
    attempt: int
    created_at: int
    started_at: int | None
    deadline_at: int | None
    finished_at: int | None
    error: str | None
    script_by: str | None
    duration_ms: int | None
    wav_bytes: int | None
    mp3_bytes: int | None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class Hold(Struct, frozen=True):
    """A run as one attempt of one job holds it: what that attempt may still change."""

    run_id: str
    job_id: str
    attempt: int


async def create(episode_profile: str, speaker_profile: str, episode_name: str, source_ids: Sequence[str]) -> Run:
    """Raises StateConflict where a profile or a source went away meanwhile."""
    run_id = new_id()
    given = {
        "id": run_id,
        "episode_profile": episode_profile,
        "speaker_profile": speaker_profile,
        "episode_name": episode_name,
        "status": State.PENDING.value,
        "created_at": now(),
    }
    rows = [{"run": run_id, "position": n, "source": source} for n, source in enumerate(source_ids)]
    try:
        async with DATABASE.writing() as tables:
            made = (await tables.execute(insert(RUNS).values(**given).returning(RUNS))).mappings().one()
            await tables.execute(insert(RUN_SOURCES), rows)
            return _run(made)
    except IntegrityError as error:
        raise StateConflict("a profile or a source was deleted just now: look again at what there is") from error


async def read(run_id: str) -> Run:
    """Raises NotFound."""
    found = await _select(RUNS.c.id == run_id)
    if not found:
        raise NotFound(f"there is no run {run_id!r}")
    return found[0]


async def of_job(job_id: str) -> Run:
    """The run that a job makes. Raises NotFound."""
    found = await _select(RUNS.c.job_id == job_id)
    if not found:
        raise NotFound(f"no run is made by a task {job_id!r}")
    return found[0]


async def listing(status: Sequence[State], limit: int, before: str | None) -> list[Run]:
    """Newest first, those with an id below `before`."""
    wanted: list[ColumnElement[bool]] = [RUNS.c.status.in_(status)] if status else []
    if before is not None:
        wanted.append(RUNS.c.id < before)
    return await _select(*wanted, limit=limit)


async def with_jobs() -> list[Run]:
    """All open runs that were started, newest first."""
    return await _select(RUNS.c.status.in_(OPEN), RUNS.c.job_id.is_not(None))


async def sources_of(run_id: str) -> list[str]:
    """The ids of its sources, in order."""
    wanted = select(RUN_SOURCES.c.source).where(RUN_SOURCES.c.run == run_id).order_by(RUN_SOURCES.c.position)
    async with DATABASE.reading() as tables:
        return list((await tables.execute(wanted)).scalars())


async def bind(run_id: str, job_id: str) -> bool:
    """Let that job make it; False if another one does, or nobody wants it any more."""
    taken = await _move(run_id, RUNS.c.status.in_(OPEN), RUNS.c.job_id.is_(None), job_id=job_id)
    # Its job may have begun before this was written down.
    return taken or (await read(run_id)).job_id == job_id


async def free(seen: Run) -> None:
    """Its job is gone: let another one make it, which counts its attempts anew."""
    await _move(seen.id, RUNS.c.status.in_(OPEN), RUNS.c.job_id == seen.job_id, job_id=None, attempt=0)


async def claim(hold: Hold, seconds: float) -> bool:
    """Begin an attempt, which has so many seconds; False if the run has ended or belongs to another job."""
    begun = now()
    return await _move(
        hold.run_id,
        RUNS.c.status.in_(OPEN),
        RUNS.c.job_id.is_(None) | (RUNS.c.job_id == hold.job_id),
        RUNS.c.attempt <= hold.attempt,
        status=State.STARTED.value,
        job_id=hold.job_id,
        attempt=hold.attempt,
        started_at=begun,
        deadline_at=begun + round(seconds * 1000),
        error=None,
    )


async def succeed(hold: Hold, duration_ms: int, wav_bytes: int, mp3_bytes: int) -> bool:
    """The audio is there; False if the run was ended otherwise meanwhile."""
    made = {"duration_ms": duration_ms, "wav_bytes": wav_bytes, "mp3_bytes": mp3_bytes}
    return await _move(hold.run_id, *_held(hold), **_ended(State.SUCCESS), **made)


async def fail(hold: Hold, why: str) -> bool:
    """The attempt failed, and there will be no other."""
    return await _move(hold.run_id, *_held(hold), **_ended(State.FAILURE, why))


async def stop(hold: Hold) -> bool:
    """The attempt was cancelled."""
    return await _move(hold.run_id, *_held(hold), **_ended(State.REVOKED, "cancelled while it was made"))


async def pause(hold: Hold, why: str) -> bool:
    """The attempt failed, and there will be another: until then no time runs out."""
    return await _move(hold.run_id, *_held(hold), error=printable(why, _WORDS), deadline_at=None)


async def revoke(run_id: str) -> bool:
    """It is not wanted any more; False if it has ended."""
    return await _move(run_id, RUNS.c.status.in_(OPEN), **_ended(State.REVOKED, "cancelled"))


async def follow(run: Run, status: State, why: str) -> bool:
    """Its job ended in `status` without a word from the attempt: so did the run."""
    same = RUNS.c.job_id == run.job_id
    return await _move(run.id, RUNS.c.status.in_(OPEN), same, **_ended(status, why))


async def expire(moment: int) -> list[str]:
    """End all runs in FAILURE whose time was over at `moment`; their ids."""
    past = update(RUNS).where(RUNS.c.status == State.STARTED.value, RUNS.c.deadline_at < moment)
    async with DATABASE.writing() as tables:
        return list((await tables.execute(past.values(_ended(State.FAILURE, OVERDUE)).returning(RUNS.c.id))).scalars())


async def remove(run_id: str) -> bool:
    """Forget a run that has ended; False if it has not, or is not there."""
    ended = delete(RUNS).where(RUNS.c.id == run_id, RUNS.c.status.not_in(OPEN))
    async with DATABASE.writing() as tables:
        return bool((await tables.execute(ended)).rowcount)


def _held(hold: Hold) -> tuple[ColumnElement[bool], ...]:
    same = RUNS.c.job_id == hold.job_id
    return RUNS.c.status == State.STARTED.value, same, RUNS.c.attempt == hold.attempt


def _ended(status: State, why: str | None = None) -> dict[str, Any]:
    words = None if why is None else printable(why, _WORDS)
    return {"status": status.value, "finished_at": now(), "deadline_at": None, "error": words}


async def _move(run_id: str, *conditions: ColumnElement[bool], **values: Any) -> bool:
    async with DATABASE.writing() as tables:
        moved = await tables.execute(update(RUNS).where(RUNS.c.id == run_id, *conditions).values(**values))
        return bool(moved.rowcount)


async def _select(*conditions: ColumnElement[bool], limit: int | None = None) -> list[Run]:
    wanted = select(RUNS).where(*conditions).order_by(RUNS.c.id.desc()).limit(limit)
    async with DATABASE.reading() as tables:
        return [_run(row) for row in (await tables.execute(wanted)).mappings()]


def _run(row: Any) -> Run:
    return Run(**{**row, "status": State(row["status"])})
