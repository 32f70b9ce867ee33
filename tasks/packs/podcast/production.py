"""The tasks: a run is made, and runs that were not made in their time are given up."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from anyio import to_thread
from msgspec import Struct

from tasks import Cancelled, Context, FatalError, LeaseLost, SoftTimeLimitExceeded, task
from tasks.declaration import schedule
from tasks.errors import NotFound, explain
from tasks.handle import client
from tasks.job import State
from tasks.pack import not_installed
from tasks.packs.podcast import author, dialogue, folder, profile, run, script, source
from tasks.packs.podcast.pack import PODCAST
from tasks.packs.podcast.profile import Speaker
from tasks.packs.podcast.run import Hold, Run
from tasks.packs.podcast.script import Script, Turn

T = TypeVar("T")


class Done(Struct, frozen=True, kw_only=True):
    """The result of making a run."""

    run_id: str
    status: Literal["done"] = "done"


class Look(Struct, frozen=True, kw_only=True):
    """What a look at the open runs did: those `timed_out`, and those that `ended` as their tasks had before."""

    open: int
    timed_out: Sequence[str]
    ended: Sequence[str]


class OutOfTime(FatalError, SoftTimeLimitExceeded):
    """The run was not made within its time; another attempt would not be faster."""


def lacks() -> str:
    """What is not installed of what speaks, as a sentence, or ""."""
    return not_installed("podcast", "hibari", "soundfile", "numpy")


@task(
    name="podcast.generate",
    queue="podcast",
    bind=True,
    max_retries=2,
    soft_time_limit=1800,
    time_limit=3600,
    needs=lacks,
)
async def generate(context: Context, run_id: str) -> Done:
    """Make the audio of a run: its script from the sources, then two voices, as WAV and MP3."""
    hold = Hold(run_id, context.id, context.attempt)
    try:
        return await _make(context, hold)
    except Cancelled:
        return await _cancelled(hold)
    except SoftTimeLimitExceeded:
        await run.fail(hold, run.OVERDUE)
        raise OutOfTime(run.OVERDUE) from None
    except LeaseLost:
        raise
    except NotFound as error:
        raise FatalError(f"{error.detail}: it was deleted") from error
    except Exception as error:
        final = isinstance(error, FatalError) or context.retries >= context.job.max_retries
        await (run.fail if final else run.pause)(hold, explain(error))
        raise


@schedule(cron="*/5 * * * *", overlap="skip")
@task(name="check-timeout-tasks", max_retries=0)
async def check_timeout_tasks() -> Look:
    """End runs whose time is over in FAILURE, and those whose task ended without a word as it did."""
    runs = await run.with_jobs()
    ended = [each.id for each in runs if await follow(each) is not each]
    return Look(open=len(runs), timed_out=await run.expire(source.now()), ended=ended)


async def follow(seen: Run) -> Run:
    """The run as it is: one whose task has ended without a word, as when its worker died, ends with it."""
    job = await client().read_async(seen.job_id) if seen.job_id is not None and not seen.is_final else None
    if job is None or not job.is_final or job.status is State.SUCCESS:
        return seen
    await run.follow(seen, job.status, job.error_message or f"its task ended in {job.status}")
    return await run.read(seen.id)


def _already(found: Run, hold: Hold) -> Done:
    """What an attempt may say of a run that it may not make."""
    if found.job_id != hold.job_id:
        raise FatalError(f"run {found.id} is made by another task, {found.job_id}")
    if found.status is State.SUCCESS:
        return Done(run_id=found.id)
    if found.is_final:
        raise FatalError(f"run {found.id} has ended in {found.status}: {found.error}")
    raise LeaseLost(f"run {found.id} is made by attempt {found.attempt}")


async def _make(context: Context, hold: Hold) -> Done:
    seconds = context.job.soft_time_limit or PODCAST.settings.celery_task_soft_time_limit
    if not await run.claim(hold, seconds):
        return _already(await run.read(hold.run_id), hold)
    made = await _speak(context, await run.read(hold.run_id))
    if not await run.succeed(hold, made.duration_ms, made.wav_bytes, made.mp3_bytes):
        return _already(await _settled(hold.run_id), hold)
    context.log(f"run {hold.run_id}: {made.duration_ms / 1000:.1f} s of audio")
    return Done(run_id=hold.run_id)


async def _speak(context: Context, wanted: Run) -> Any:
    sources = await source.read_all(await run.sources_of(wanted.id))
    speakers = (await profile.speakers(wanted.speaker_profile)).speakers
    written = await script.kept(wanted.id)
    if written is None:
        written = await _write(context, wanted, [speaker.name for speaker in speakers], sources)
        written = await script.keep(wanted.id, written)
    if not {turn.speaker for turn in written.turns} <= {speaker.name for speaker in speakers}:
        raise FatalError(f"the speakers of {wanted.speaker_profile!r} were changed after the script was written")
    return await _in_thread(partial(_record, context, wanted, written, speakers))


async def _write(context: Context, wanted: Run, names: Sequence[str], sources: Sequence[source.Source]) -> Script:
    episode = await profile.episode(wanted.episode_profile)
    context.progress(0, None, "writing the script")
    model = author.endpoint(PODCAST.settings)
    if model is not None:
        try:
            return await author.write(model, episode, wanted.episode_name, names, sources)
        except author.UnusableScript as error:
            context.log(f"the model's script was no use ({error}): it is drawn from the sources", "warning")
    return await to_thread.run_sync(dialogue.draw, wanted.episode_name, names, sources, episode.turns)


def _record(context: Context, wanted: Run, written: Script, speakers: Sequence[Speaker]) -> Any:
    speech = _speech()
    root, turns = Path(PODCAST.settings.podcast_root), written.turns
    told = -1

    def watch(number: int, turn: Turn) -> None:
        nonlocal told
        context.check()
        if number != told:
            told = number
            context.progress(number, len(turns), f"turn {number + 1} of {len(turns)}: {turn.speaker}")

    with folder.draft(root, wanted.id, context.attempt) as draft:
        made = speech.record(turns, speakers, draft.wav, draft.mp3, watch)
        context.progress(len(turns), len(turns), "done")
        folder.publish(root, wanted.id, draft)
    return made


def _speech() -> Any:
    """What speaks, imported when the first run needs it."""
    try:
        return importlib.import_module("tasks.packs.podcast.speech")
    except ImportError as error:
        raise FatalError(f"this process cannot speak ({error}): install jobgate[podcast]") from error


async def _in_thread(work: Callable[[], T]) -> T:
    """`work` beside the loop. Who is stopped meanwhile waits until it has stopped too: it looks at every sentence."""
    going = asyncio.ensure_future(to_thread.run_sync(work))
    try:
        return await asyncio.shield(going)
    except BaseException:
        await asyncio.gather(going, return_exceptions=True)
        raise


async def _cancelled(hold: Hold) -> Done:
    """End as cancelled, unless the run was made just before."""
    await run.stop(hold)
    found = await _settled(hold.run_id)
    if found.status is State.SUCCESS and found.job_id == hold.job_id:
        return Done(run_id=found.id)
    raise Cancelled


async def _settled(run_id: str) -> Run:
    """The run as it stands; what was made for one that nobody wants is removed."""
    found = await run.read(run_id)
    if found.is_final and found.status is not State.SUCCESS:
        await to_thread.run_sync(folder.clear, Path(PODCAST.settings.podcast_root), run_id)
    return found
