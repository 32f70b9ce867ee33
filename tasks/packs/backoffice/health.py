"""Whether agents run when they should, and whether their runs end well: judged from their runs and their schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update

from tasks.handle import client
from tasks.packs.backoffice.agents import Health
from tasks.packs.backoffice.tables import AGENTS, DATABASE, RUNS, now
from tasks.schedule import Schedule, Spec, read_spec

EXECUTE = "execute_agent_periodic_task"
#: Seconds that a run may take.
TIME_LIMIT = 300.0

_R = RUNS.c
_OF_IT = _R.agent_id == AGENTS.c.id
_FAILED = select(RUNS).where(_OF_IT, _R.state == "failure")
_GOOD = RUNS.alias("good").c
_LAST_SUCCESS = (
    select(func.coalesce(func.max(_GOOD.id), 0))
    .where(_GOOD.agent_id == AGENTS.c.id, _GOOD.state == "success")
    .correlate(AGENTS)
    .scalar_subquery()
)
_LOOK = select(
    AGENTS.c.id,
    AGENTS.c.name,
    now().label("now"),
    select(func.count()).where(_OF_IT).scalar_subquery().label("runs"),
    select(func.max(_R.started_at)).where(_OF_IT).scalar_subquery().label("started_at"),
    _FAILED.with_only_columns(func.count()).where(_R.id > _LAST_SUCCESS).scalar_subquery().label("failures"),
    _FAILED.with_only_columns(_R.error).order_by(_R.id.desc()).limit(1).scalar_subquery().label("error"),
)


async def check(grace: int) -> Mapping[str, Health]:
    """Look at all agents and mark them; their health by name. `grace` in milliseconds is how late a run may begin."""
    schedules = await client().schedules_async(EXECUTE)
    found: dict[str, Health] = {}
    async with DATABASE.writing() as tables:
        for row in (await tables.execute(_LOOK)).mappings().all():
            health, reason = _judge(row, [each for each in schedules if agent_of(each) == row["id"]], grace)
            marked = update(AGENTS).where(AGENTS.c.id == row["id"])
            await tables.execute(marked.values(health=health, health_reason=reason, checked_at=row["now"]))
            found[row["name"]] = health
    return found


def agent_of(schedule: Schedule) -> Any:
    """The id of the agent that it runs."""
    spec: Spec = read_spec(schedule.spec)
    return spec.kwargs.get("agent_id", spec.args[0] if spec.args else None)


def _judge(row: Mapping[Any, Any], schedules: Sequence[Schedule], grace: int) -> tuple[Health, str]:
    if row["failures"]:
        many = f"{row['failures']} runs in a row" if row["failures"] > 1 else "the last run"
        return "failing", f"{many} failed: {row['error']}"
    late = next((each for each in schedules if _overdue(each, row, grace)), None)
    if late is not None:
        return "overdue", f"the schedule {late.name!r} has come due, and no run has begun"
    return ("ok" if row["runs"] else "new"), ""


def _overdue(schedule: Schedule, row: Mapping[Any, Any], grace: int) -> bool:
    """Nobody fires it, or it fired and nothing came of it."""
    if not schedule.enabled:
        return False
    unfired = schedule.next_at is not None and schedule.next_at + grace < row["now"]
    fired = schedule.last_at is not None and schedule.last_at + grace < row["now"]
    return unfired or (fired and (row["started_at"] or 0) < (schedule.last_at or 0))
