"""`scan_prompt_citations`: one prompt, put to every platform at once."""

from __future__ import annotations

import asyncio
from typing import Annotated, NoReturn

import httpx2
from msgspec import Meta, Struct

from tasks import Context, FatalError, Retry, task
from tasks.packs.citations import record, settings
from tasks.packs.citations.asking import Asking, connect
from tasks.packs.citations.pack import CITATIONS
from tasks.packs.citations.platforms import PLATFORMS, Access, PlatformFailed, PlatformName
from tasks.packs.citations.record import Figure, Question

QUEUE = "citations"
PromptText = Annotated[str, Meta(min_length=1, max_length=4000)]
ProjectId = Annotated[str, Meta(min_length=1, max_length=64)]
Platforms = Annotated[list[PlatformName], Meta(min_length=1, max_length=len(PLATFORMS))]


class Scanned(Struct, frozen=True, kw_only=True):
    """The result. `platforms`: how many citations each platform that answered has; `own_citations`: how many of all
    are pages of the project; `failed`: what the others said; `cost`: US dollars, of those that are known."""

    project_id: str
    prompt_text: str
    total_citations: int
    own_citations: int
    platforms: dict[str, int]
    failed: dict[str, str]
    cost: float


def configured() -> dict[str, Access]:
    """The platforms that this deployment reaches."""
    found = ((name, settings.access(CITATIONS.settings, name)) for name in PLATFORMS)
    return {name: access for name, access in found if access is not None}


def lacks() -> str:
    """What a submission is refused with: a scan needs one platform at least."""
    if configured():
        return ""
    keys = [f"{name.upper()}_API_KEY" for name, platform in PLATFORMS.items() if platform.key_needed]
    return f"no platform is configured: set one of {', '.join(keys)}, COMPATIBLE_BASE_URL"


@task(name="scan_prompt_citations", queue=QUEUE, bind=True, soft_time_limit=300, time_limit=360, needs=lacks)
async def scan_prompt_citations(
    context: Context, prompt_text: PromptText, project_id: ProjectId, platforms: Platforms | None = None
) -> Scanned:
    """Ask AI platforms (by default all that are configured) a prompt and store every citation.

    A platform that fails loses nothing of the others; if all fail, the job does, and runs again where that can help.
    """
    question = await record.question(context.idempotency_key, project_id, prompt_text)
    wanted = list(dict.fromkeys(platforms or configured()))
    already = await record.answered(question.job_id)
    left = [name for name in wanted if name not in already]
    failed = await _ask_all(context, question, left)
    if failed and len(failed) == len(wanted):
        _give_up(failed)
    return _result(question, await record.figures(question.job_id), failed)


async def _ask_all(context: Context, question: Question, names: list[str]) -> dict[str, PlatformFailed]:
    """Those that failed. What goes wrong here, and not there, is raised once all have been heard."""
    async with connect(CITATIONS.settings) as http:
        asked = (_ask(context, question, name, http) for name in names)
        outcomes = dict(zip(names, await asyncio.gather(*asked, return_exceptions=True), strict=True))
    for outcome in outcomes.values():
        if outcome is not None and not isinstance(outcome, PlatformFailed):
            raise outcome
    return {name: failure for name, failure in outcomes.items() if isinstance(failure, PlatformFailed)}


async def _ask(context: Context, question: Question, name: str, http: httpx2.AsyncClient) -> None:
    """Written as soon as it is known: what another platform does later cannot lose it. Raises PlatformFailed."""
    access = configured().get(name)
    try:
        if access is None:
            raise PlatformFailed(settings.missing(name), lasting=True)
        answer = await Asking(PLATFORMS[name], access, CITATIONS.settings, http).answer(question.text)
    except PlatformFailed as failure:
        context.log(f"{name} failed: {failure.words}", "warning")
        await record.keep(question, name, failure.words, access)
        raise
    await record.keep(question, name, answer, access)
    context.log(f"{name}: {len(answer.sources)} sources")


def _give_up(failed: dict[str, PlatformFailed]) -> NoReturn:
    words = "no platform answered: " + "; ".join(f"{name}: {failure.words}" for name, failure in failed.items())
    passing = [failure.retry_after for failure in failed.values() if not failure.lasting]
    if not passing:
        raise FatalError(words)
    waits = [wait for wait in passing if wait is not None]
    # Where one of them names no time, the task's own back-off is the shorter wait.
    raise Retry(words, min(waits) if len(waits) == len(passing) else None)


def _result(question: Question, figures: dict[str, Figure], failed: dict[str, PlatformFailed]) -> Scanned:
    return Scanned(
        project_id=question.project_id,
        prompt_text=question.text,
        total_citations=sum(figure.citations for figure in figures.values()),
        own_citations=sum(figure.own for figure in figures.values()),
        platforms={name: figure.citations for name, figure in figures.items()},
        failed={name: failure.words for name, failure in failed.items()},
        cost=round(sum(figure.cost or 0 for figure in figures.values()), 6),
    )
