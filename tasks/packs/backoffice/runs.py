"""The runs of agents: a row for each job, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import delete, func, insert, select, update

from tasks.errors import printable
from tasks.moment import moment, moment_or_none
from tasks.packs.backoffice.conversation import Called, Conversation
from tasks.packs.backoffice.sessions import DAY
from tasks.packs.backoffice.tables import DATABASE, RUNS, now

MAX_ANSWER = 100_000

_R = RUNS.c


class Run(Struct, frozen=True, kw_only=True):
    """One run; tokens are None where the endpoint told none."""

    id: int
    agent_id: int
    job_id: str
    attempt: int
    state: Literal["running", "success", "failure"]
    started_at: str
    ended_at: str | None
    answer: str | None
    error: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    tool_calls: Sequence[Called]


async def begin(agent_id: int, job_id: str, attempt: int) -> Run | None:
    """Write down that it runs; or the run itself where this job has done it before, and only its end was lost."""
    anew = {"attempt": attempt, "state": "running", "started_at": now(), "tool_calls": "[]"}
    blank = dict.fromkeys(("ended_at", "answer", "error", "prompt_tokens", "completion_tokens"))
    async with DATABASE.writing() as tables:
        found = (await tables.execute(select(RUNS).where(_R.job_id == job_id).with_for_update())).mappings().first()
        if found is None:
            await tables.execute(insert(RUNS).values(agent_id=agent_id, job_id=job_id, **anew))
        elif found["state"] == "success":
            return _run(found)
        else:
            await tables.execute(update(RUNS).where(_R.job_id == job_id).values(**anew, **blank))
    return None


async def succeed(job_id: str, attempt: int, talk: Conversation, answer: str) -> Run:
    """The run that has ended so."""
    await _end(job_id, attempt, talk, {"state": "success", "answer": printable(answer, MAX_ANSWER)})
    async with DATABASE.reading() as tables:
        return _run((await tables.execute(select(RUNS).where(_R.job_id == job_id))).mappings().one())


async def fail(job_id: str, attempt: int, talk: Conversation, error: str) -> None:
    """Unless a later attempt has begun."""
    await _end(job_id, attempt, talk, {"state": "failure", "error": error})


async def lose(age: int) -> int:
    """End those that began more than `age` milliseconds ago and cannot run any more; how many."""
    lost = update(RUNS).where(_R.state == "running", _R.started_at < now() - age)
    words = "it did not end: its worker was lost"
    async with DATABASE.writing() as tables:
        return (await tables.execute(lost.values(state="failure", error=words, ended_at=now()))).rowcount


async def of_agent(agent_id: int, limit: int, before: int | None) -> Sequence[Run]:
    """The latest first, those before the one whose id is `before`."""
    wanted = select(RUNS).where(_R.agent_id == agent_id).order_by(_R.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(_R.id < before)
    async with DATABASE.reading() as tables:
        return [_run(row) for row in (await tables.execute(wanted)).mappings()]


async def forget(days: int) -> int:
    """Delete those that ended longer ago, but each agent's last; how many."""
    last = select(func.max(_R.id)).group_by(_R.agent_id)
    old = delete(RUNS).where(_R.ended_at < now() - days * DAY, _R.id.not_in(last.scalar_subquery()))
    async with DATABASE.writing() as tables:
        return (await tables.execute(old)).rowcount


async def _end(job_id: str, attempt: int, talk: Conversation, how: Mapping[str, Any]) -> None:
    mine = update(RUNS).where(_R.job_id == job_id, _R.attempt == attempt, _R.state == "running")
    told = {
        "prompt_tokens": talk.prompt_tokens,
        "completion_tokens": talk.completion_tokens,
        "tool_calls": msgspec.json.encode(talk.calls).decode(),
    }
    async with DATABASE.writing() as tables:
        await tables.execute(mine.values(ended_at=now(), **told, **how))


def _run(row: Mapping[Any, Any]) -> Run:
    asked, said = row["prompt_tokens"], row["completion_tokens"]
    return Run(
        **{
            **row,
            "started_at": moment(row["started_at"]),
            "ended_at": moment_or_none(row["ended_at"]),
            "tool_calls": msgspec.json.decode(row["tool_calls"], type=list[Called]),
        },
        total_tokens=None if asked is None or said is None else asked + said,
    )
