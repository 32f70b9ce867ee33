"""The addresses of runs: created, started, followed, cancelled, listened to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from anyio import to_thread
from msgspec import UNSET, Meta, Struct, UnsetType, field, structs

from tasks.address import Download, address
from tasks.errors import InvalidArguments, NotConfigured, NotFound, StateConflict
from tasks.handle import client
from tasks.job import FINAL, Mode, State
from tasks.moment import moment, moment_or_none
from tasks.packs.podcast import folder, production, profile, run, script, source
from tasks.packs.podcast.pack import PODCAST
from tasks.packs.podcast.profile import Name
from tasks.packs.podcast.run import Run
from tasks.packs.podcast.script import Turn
from tasks.packs.podcast.source import SourceId, Title
from tasks.packs.podcast.utterance import is_speakable

#: Runs speak in lower case, their tasks in Celery's.
Status = Literal["pending", "started", "success", "failure", "revoked"]
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$(?!\n)")]

#: Characters of a source by which its language is judged.
_JUDGED = 20_000
#: Names of profiles in an error.
_LISTED = 20


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`start: false` creates the run only."""

    episode_profile: Name
    speaker_profile: Name
    episode_name: Title
    source_ids: Annotated[list[SourceId], Meta(min_length=1, max_length=20)]
    start: bool = True


class Accepted(Struct, frozen=True, kw_only=True):
    """`celery_task_id` is there in Celery mode, once the run is started."""

    run_id: str
    status: Literal["pending"] = "pending"
    created_at: str
    mode: Mode
    celery_task_id: str | UnsetType = UNSET


class TaskView(Struct, frozen=True, kw_only=True):
    """`result` is null until the task has succeeded."""

    celery_task_id: str
    status: State
    ready: bool
    successful: bool
    result: production.Done | None


class RunView(Struct, frozen=True, kw_only=True):
    """`duration` in seconds; `error` why it failed, or why the last attempt did; `job_id` null: not started."""

    run_id: str
    episode_profile: str
    speaker_profile: str
    episode_name: str
    status: Status
    job_id: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: str | None
    script_by: Literal["model", "sources"] | None
    duration: float | None
    wav_bytes: int | None
    mp3_bytes: int | None


class RunDetail(RunView, frozen=True, kw_only=True):
    """With its sources and what is said."""

    source_ids: Sequence[str]
    script: Sequence[Turn]


class RunQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before`: the id where the last page ended."""

    status: list[Status] = field(default_factory=list)
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Id | None = None


@address("POST", "/api/podcast/generate", status=202)
async def generate(body: Wish) -> Accepted:
    """Create a run and start it."""
    if lack := production.lacks():
        raise NotConfigured(f"no podcast can be made in this deployment: {lack}")
    await _check(body)
    made = await run.create(body.episode_profile, body.speaker_profile, body.episode_name, body.source_ids)
    return await _start(made) if body.start else _accepted(made, UNSET)


@address("POST", "/api/podcast/runs/{run_id}/start", status=202)
async def start(run_id: Id) -> Accepted:
    """Start a run that was created but not started, or whose task is not there any more."""
    found = await production.follow(await run.read(run_id))
    if found.is_final:
        raise StateConflict(f"run {run_id} has ended in {found.status}: generate another one")
    if found.job_id is not None:
        if await client().read_async(found.job_id) is not None:
            raise StateConflict(f"run {run_id} was started already, as task {found.job_id}")
        await run.free(found)
    return await _start(found)


@address("POST", "/api/podcast/runs/{run_id}/cancel", scope="control")
async def cancel(run_id: Id) -> RunDetail:
    """Cancel a run: it never succeeds from now on, and its task is told to stop."""
    found = await run.read(run_id)
    if not await run.revoke(run_id):
        ended = await run.read(run_id)
        raise StateConflict(f"run {run_id} has already ended in {ended.status}: nothing to cancel")
    found = await run.read(run_id)
    job = None if found.job_id is None else await client().read_async(found.job_id)
    if job is not None and not job.is_final:
        await _cancel_task(job.id)
    return await _detail(found)


@address("GET", "/api/podcast/celery/task/{celery_task_id}")
async def read_task(celery_task_id: Id) -> TaskView:
    """Read the task that makes a run, as Celery would tell it."""
    made = await run.of_job(celery_task_id)
    job = await client().read_async(celery_task_id)
    # The record forgets a task after a while; the run says then how it ended.
    status = made.status if job is None else job.status
    done = status is State.SUCCESS
    return TaskView(
        celery_task_id=celery_task_id,
        status=status,
        ready=status in FINAL,
        successful=done,
        result=production.Done(run_id=made.id) if done else None,
    )


@address("GET", "/api/podcast/runs")
async def list_runs(query: RunQuery) -> list[RunView]:
    """List runs, newest first."""
    states = [State(status.upper()) for status in query.status]
    return [_view(found) for found in await run.listing(states, query.limit, query.before)]


@address("GET", "/api/podcast/runs/{run_id}")
async def read_run(run_id: Id) -> RunDetail:
    """Read a run with its script."""
    return await _detail(await production.follow(await run.read(run_id)))


@address("DELETE", "/api/podcast/runs/{run_id}")
async def remove_run(run_id: Id) -> None:
    """Delete a run that has ended, and its audio."""
    found = await run.read(run_id)
    if not await run.remove(run_id):
        raise StateConflict(f"run {run_id} is {found.status}: cancel it first")
    await to_thread.run_sync(folder.clear, _root(), run_id)


@address("GET", "/api/podcast/runs/{run_id}/audio.{kind}")
async def download(run_id: Id, kind: Literal["wav", "mp3"]) -> Download:
    """The audio of a run."""
    found = await run.read(run_id)
    if found.status is not State.SUCCESS:
        raise StateConflict(f"run {run_id} is {found.status}: there is audio once it is {State.SUCCESS}")
    path = folder.audio(_root(), run_id, kind)
    if not await to_thread.run_sync(path.is_file):
        raise NotFound(f"the audio of run {run_id} is not in PODCAST_ROOT of the gateway: was it moved or deleted?")
    return Download(path, folder.KINDS[kind], f"{found.episode_name}.{kind}")


def _listed(kind: str, names: Sequence[str]) -> str:
    """Which profiles there are, or how to make one."""
    if not names:
        return f"there is none yet: POST /api/podcast/{kind}-profiles makes one"
    more = "" if len(names) <= _LISTED else f" and {len(names) - _LISTED} more"
    return f"there are {', '.join(map(repr, names[:_LISTED]))}{more}"


async def _check(wish: Wish) -> None:
    """Raises InvalidArguments for what the run cannot be made of."""
    for kind, name, read in (
        ("episode", wish.episode_profile, profile.episodes),
        ("speaker", wish.speaker_profile, profile.speaker_profiles),
    ):
        if not await read(name):
            there = [each.name for each in await read()]
            raise InvalidArguments(f"there is no {kind} profile {name!r}; {_listed(kind, there)}", f"/{kind}_profile")
    found = await source.beginnings(wish.source_ids, _JUDGED)
    for n, source_id in enumerate(wish.source_ids):
        if why := _fault(source_id, found, wish.source_ids[:n]):
            raise InvalidArguments(f"the source {source_id!r} {why}", f"/source_ids/{n}")


def _fault(source_id: str, found: dict[str, str], before: Sequence[str]) -> str:
    if source_id not in found:
        return "is not there: POST /api/podcast/sources adds one"
    if source_id in before:
        return "is named twice"
    if not is_speakable(found[source_id]):
        return "is not in English: the voice can speak no other language, so no Chinese"
    return ""


async def _start(made: Run) -> Accepted:
    limits = PODCAST.settings
    handle = await production.generate.submit_async(
        [made.id],
        soft_time_limit=limits.celery_task_soft_time_limit,
        time_limit=limits.celery_task_time_limit,
    )
    if not await run.bind(made.id, handle.id):
        await _cancel_task(handle.id)
        raise StateConflict(f"run {made.id} was started or cancelled by somebody else just now")
    return _accepted(made, handle.id)


async def _cancel_task(job_id: str) -> None:
    try:
        await client().cancel_async(job_id)
    except StateConflict:
        return  # it has ended meanwhile


def _accepted(made: Run, job_id: str | UnsetType) -> Accepted:
    mode = client().mode
    shown = job_id if mode is Mode.CELERY else UNSET
    return Accepted(run_id=made.id, created_at=moment(made.created_at), mode=mode, celery_task_id=shown)


def _view(found: Run) -> RunView:
    return RunView(
        run_id=found.id,
        episode_profile=found.episode_profile,
        speaker_profile=found.speaker_profile,
        episode_name=found.episode_name,
        status=found.status.lower(),  # type: ignore[arg-type]  # the same words
        job_id=found.job_id,
        created_at=moment(found.created_at),
        started_at=moment_or_none(found.started_at),
        finished_at=moment_or_none(found.finished_at),
        error=found.error,
        script_by=found.script_by,  # type: ignore[arg-type]  # the table holds no other word
        duration=None if found.duration_ms is None else found.duration_ms / 1000,
        wav_bytes=found.wav_bytes,
        mp3_bytes=found.mp3_bytes,
    )


async def _detail(found: Run) -> RunDetail:
    written = await script.kept(found.id)
    return RunDetail(
        **structs.asdict(_view(found)),
        source_ids=await run.sources_of(found.id),
        script=written.turns if written is not None else [],
    )


def _root() -> Path:
    return Path(PODCAST.settings.podcast_root)
