"""The addresses of agents. When an agent runs is a schedule's matter, which these make, change and take away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tasks.address import address
from tasks.errors import StateConflict
from tasks.handle import client
from tasks.moment import moment_or_none
from tasks.packs.backoffice import agents, runs, tools
from tasks.packs.backoffice.agent_tasks import execute_agent_periodic_task
from tasks.packs.backoffice.agents import Agent, AgentId, Text
from tasks.packs.backoffice.health import EXECUTE, agent_of
from tasks.packs.backoffice.runs import Run
from tasks.packs.backoffice.session_addresses import Limit
from tasks.packs.backoffice.tables import DATABASE
from tasks.schedule import MAX_SECONDS, Overlap, Schedule, Spec, read_spec

Prompt = Annotated[str, Meta(min_length=1, max_length=20_000)]
Model = Annotated[str, Meta(max_length=100)]
Every = Annotated[float, Meta(ge=1, le=MAX_SECONDS)]
_WHEN = ("cron", "every", "timezone", "enabled")


class NewAgent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`cron` or `every` (seconds) says when it runs, neither: when it is told to. `model` is the deployment's where it
    is empty; `instructions` are the system's message."""

    name: Annotated[str, Meta(min_length=1, max_length=70, pattern=r"^[^/\x00-\x1f\x7f]+$(?!\n)")]
    prompt: Prompt
    instructions: Text = ""
    model: Model = ""
    tools: tuple[tools.Name, ...] = ()
    cron: str | None = None
    every: Every | None = None
    timezone: str = ""
    enabled: bool = True


class AgentChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields to be changed; what is left out stays."""

    prompt: Prompt | UnsetType = UNSET
    instructions: Text | UnsetType = UNSET
    model: Model | UnsetType = UNSET
    tools: tuple[tools.Name, ...] | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    every: Every | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class When(Struct, frozen=True, kw_only=True):
    """A schedule that runs the agent."""

    name: str
    cron: str | None
    every: float | None
    timezone: str
    enabled: bool
    next_run_at: str | None


class AgentView(Agent, frozen=True, kw_only=True):
    schedules: Sequence[When]


class AgentList(Struct, frozen=True, kw_only=True):
    agents: Sequence[AgentView]


class RunQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before`: the id of the last run of the page before."""

    limit: Limit = 50
    before: AgentId | None = None


class RunList(Struct, frozen=True, kw_only=True):
    runs: Sequence[Run]


class Begun(Struct, frozen=True, kw_only=True):
    job_id: str
    mode: str


@address("POST", "/api/backoffice/agents", status=201, scope="control")
async def create_agent(body: NewAgent) -> AgentView:
    """Make an agent, and its schedule."""
    given = msgspec.structs.asdict(body)
    when = {name: given.pop(name) for name in _WHEN}
    # The schedule within the transaction: one that is refused leaves no agent behind.
    async with DATABASE.writing() as tables:
        agent_id = await agents.add(tables, given)
        if body.cron is not None or body.every is not None:
            enabled = when.pop("enabled")
            await client().put_schedule_async(_spec(agent_id, body.name, **when), enabled)
    return await read_agent.handler(agent_id)  # type: ignore[no-any-return]  # its own return type


@address("GET", "/api/backoffice/agents")
async def list_agents() -> AgentList:
    """List agents by name, with their health."""
    schedules = await client().schedules_async(EXECUTE)
    return AgentList(agents=[_view(agent, schedules) for agent in await agents.every()])


@address("GET", "/api/backoffice/agents/{agent_id}")
async def read_agent(agent_id: AgentId) -> AgentView:
    """Read an agent."""
    return _view(await agents.read(agent_id), await client().schedules_async(EXECUTE))


@address("PATCH", "/api/backoffice/agents/{agent_id}", scope="control")
async def change_agent(agent_id: AgentId, body: AgentChange) -> AgentView:
    """Change an agent, and when it runs; without a restart."""
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    when = {name: given.pop(name) for name in _WHEN if name in given}
    async with DATABASE.writing() as tables:
        agent = await agents.change(tables, agent_id, given)
        if when:
            await _replan(agent, when)
    return await read_agent.handler(agent_id)  # type: ignore[no-any-return]  # its own return type


@address("DELETE", "/api/backoffice/agents/{agent_id}", scope="control")
async def delete_agent(agent_id: AgentId) -> None:
    """Delete an agent with its runs and its schedules; its jobs stay."""
    await agents.remove(agent_id)
    for schedule in await client().schedules_async(EXECUTE):
        if agent_of(schedule) == agent_id:
            await client().drop_schedule_async(schedule.name)


@address("POST", "/api/backoffice/agents/{agent_id}/run", status=202)
async def run_agent(agent_id: AgentId) -> Begun:
    """Run an agent now."""
    await agents.read(agent_id)
    job = await execute_agent_periodic_task.submit_async([agent_id])
    return Begun(job_id=job.id, mode=client().mode)


@address("GET", "/api/backoffice/agents/{agent_id}/runs")
async def list_runs(agent_id: AgentId, query: RunQuery) -> RunList:
    """List an agent's runs, the latest first."""
    await agents.read(agent_id)
    return RunList(runs=await runs.of_agent(agent_id, query.limit, query.before))


@address("GET", "/api/backoffice/agent-tools")
async def list_tools() -> dict[str, str]:
    """What tools agents may be given."""
    return {name: tool.description for name, tool in tools.TOOLS.items()}


async def _replan(agent: Agent, when: dict[str, Any]) -> None:
    """Change the agent's own schedule, or make it. StateConflict where there is none and nothing says when."""
    name = _schedule_name(agent.name)
    own = next((each for each in await client().schedules_async(EXECUTE) if each.name == name), None)
    if own is None and "cron" not in when and "every" not in when:
        raise StateConflict(f"agent {agent.id} has no schedule of its own: say cron or every")
    enabled = when.pop("enabled", own is None or own.enabled)
    before = _spec(agent.id, agent.name) if own is None else read_spec(own.spec)
    if "cron" in when or "every" in when:
        when = {"cron": None, "every": None, **when}
    await client().put_schedule_async(msgspec.structs.replace(before, **when), enabled)


def _spec(agent_id: int, name: str, **when: Any) -> Spec:
    wanted = {"name": _schedule_name(name), "task": EXECUTE, "kwargs": {"agent_id": agent_id}, **when}
    return Spec(**wanted, overlap=Overlap.SKIP, type="agent")


def _schedule_name(name: str) -> str:
    return f"agent {name}"


def _view(agent: Agent, schedules: Sequence[Schedule]) -> AgentView:
    own = [_when(each) for each in schedules if agent_of(each) == agent.id]
    return AgentView(**msgspec.structs.asdict(agent), schedules=own)


def _when(schedule: Schedule) -> When:
    spec = read_spec(schedule.spec)
    return When(
        name=schedule.name,
        cron=spec.cron,
        every=spec.every,
        timezone=spec.timezone,
        enabled=schedule.enabled,
        next_run_at=moment_or_none(schedule.next_at if schedule.enabled else None),
    )
