"""Workers: who there is, how they stand, and what they can be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from gateway import views
from gateway.call import Call
from gateway.problems import Refusal, in_parameter
from gateway.query import MAX_WAIT
from gateway.reply import Reply, ok
from tasks.command import Command, Verb
from tasks.moment import moment, moment_or_none
from tasks.worker import Worker, WorkerState

#: In the place of a worker's name.
ALL = "all"
MAX_LIST = 100
#: Seconds to wait for an answer, if the caller names none.
WAIT = 10.0

Wait = Annotated[float, Meta(ge=0, description=f"Seconds to wait for the answers, at most {MAX_WAIT:g}")]


class WorkerView(Struct, frozen=True, kw_only=True):
    """A process that runs jobs. `memory` is in bytes; `broker` where it listens."""

    owner: str
    name: str
    instance: Annotated[str, Meta(description="Shared by the processes of one worker, and by no others")]
    host: str
    pid: int
    mode: str
    pool: str
    state: WorkerState
    slots: int
    busy: int
    queues: Sequence[str]
    tasks: Sequence[str]
    version: str
    versions: Mapping[str, str]
    memory: int
    broker: str
    draining: bool
    started_at: views.Moment
    seen_at: views.Moment
    abandoned: Annotated[int, Meta(description="Threads given up with a body that ignores its end")]
    heard: Annotated[int, Meta(description="How many rings at the broker reached it")]
    deaf: Annotated[bool, Meta(description="It shows life, but does not answer what is rung at the broker for it")]


class WorkerList(Struct, frozen=True, kw_only=True):
    """Those that showed life in the last ten seconds, and those that fell silent within the last hour."""

    workers: Sequence[WorkerView]
    lost: Sequence[WorkerView]


class CommandView(Struct, frozen=True, kw_only=True):
    """What a worker was told. `state` is "done", "failed", "under way" (it has begun) or "not answered yet".

    `outcome` is in the worker's own words; `worker` its name.
    """

    id: views.Id
    worker: str
    verb: str
    argument: str | None
    state: str
    outcome: str | None
    asked_at: views.Moment
    finished_at: views.Moment | None


class CommandList(Struct, frozen=True, kw_only=True):
    commands: Sequence[CommandView]


class CommandQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`n` is for grow and shrink, `queue` for consume and leave."""

    n: Annotated[int, Meta(ge=1, le=1000, description="How many slots; 1 if it is not given")] | None = None
    queue: str | None = None
    wait: Wait = WAIT


async def list_workers(call: Call) -> Reply:
    found = await call.control.crew.registry()
    live = [view(worker, state) for worker, state in found if state != WorkerState.LOST]
    return ok(
        WorkerList(workers=live, lost=[view(worker, state) for worker, state in found if state == WorkerState.LOST])
    )


async def command(call: Call) -> Reply:
    wanted, verb = call.query(CommandQuery), _verb(call.params["verb"])
    name = call.params["worker"]
    argument = await _argument(call, verb, wanted)
    return ok(CommandList(commands=await tell(call, None if name == ALL else name, verb, argument, wanted.wait)))


async def list_commands(call: Call) -> Reply:
    found = await call.control.crew.latest(MAX_LIST)
    return ok(CommandList(commands=[_command_view(command) for command in found]))


async def tell(call: Call, name: str | None, verb: Verb, argument: str | None, wait: float) -> Sequence[CommandView]:
    """What came of it, worker by worker; the audit trail has it too."""
    told = await call.control.crew.tell(name, verb, argument, min(wait, MAX_WAIT))
    answers = [_command_view(command) for command in told]
    call.outcome = ", ".join(f"{number} {state}" for state, number in Counter(a.state for a in answers).items())
    return answers


def view(worker: Worker, state: str) -> WorkerView:
    fields = msgspec.structs.asdict(worker)
    del fields["clock_at"]  # the doctor looks at it
    moments = {name: moment(fields[name]) for name in ("started_at", "seen_at")}
    return WorkerView(**fields | moments, state=WorkerState(state))


def _verb(text: str) -> Verb:
    try:
        return Verb(text)
    except ValueError:
        raise Refusal("not-found", f"a worker can be told to {', '.join(Verb)}; not to {text[:100]!r}") from None


async def _argument(call: Call, verb: Verb, wanted: CommandQuery) -> str | None:
    if wanted.n is not None and verb not in (Verb.GROW, Verb.SHRINK):
        raise in_parameter("n", "is for grow and shrink only")
    if (wanted.queue is not None) != (verb in (Verb.CONSUME, Verb.LEAVE)):
        raise in_parameter("queue", "is needed for consume and leave, and for nothing else")
    if wanted.queue is not None:
        return await call.control.steering.check(wanted.queue)
    return str(wanted.n or 1) if verb in (Verb.GROW, Verb.SHRINK) else None


def _command_view(command: Command) -> CommandView:
    return CommandView(
        id=command.id,
        worker=command.worker,
        verb=command.verb,
        argument=command.argument,
        state=_state(command),
        outcome=command.outcome,
        asked_at=moment(command.asked_at),
        finished_at=moment_or_none(command.finished_at),
    )


def _state(command: Command) -> str:
    if command.finished_at is not None:
        return "done" if command.ok else "failed"
    return "not answered yet" if command.taken_at is None else "under way"
