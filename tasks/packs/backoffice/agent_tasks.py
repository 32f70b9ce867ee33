"""The tasks of agents, under the names that schedules have for them."""

from __future__ import annotations

from collections.abc import Sequence

from tasks import Context, schedule, task
from tasks.errors import FatalError, NotFound, explain
from tasks.packs.backoffice import agents, health, runs
from tasks.packs.backoffice.agents import AgentId
from tasks.packs.backoffice.conversation import Conversation
from tasks.packs.backoffice.health import EXECUTE, TIME_LIMIT
from tasks.packs.backoffice.pack import BACKOFFICE
from tasks.packs.backoffice.runs import Run


@task(
    name=EXECUTE,
    queue="priority_high",
    bind=True,
    max_retries=2,
    soft_time_limit=TIME_LIMIT - 30,
    time_limit=TIME_LIMIT,
    needs=lambda: BACKOFFICE.lacks("backoffice_chat_url", "backoffice_chat_model"),
)
async def execute_agent_periodic_task(context: Context, agent_id: AgentId) -> Run:
    """Run an agent: ask its model its prompt, with its tools, and write down what becomes of it."""
    try:
        agent = await agents.read(agent_id)
    except NotFound as error:
        raise FatalError(f"{error}: delete the schedule that runs it") from None
    done = await runs.begin(agent_id, context.idempotency_key, context.attempt)
    if done is not None:
        return done
    endpoint = BACKOFFICE.settings.endpoint(agent.model)
    talk = Conversation(endpoint, agent.instructions, agent.prompt, agent.tools)
    try:
        answer = await talk.answer(context)
    except Exception as error:
        await runs.fail(context.idempotency_key, context.attempt, talk, explain(error, 2000))
        raise
    return await runs.succeed(context.idempotency_key, context.attempt, talk, answer)


@schedule(cron="*/5 * * * *", overlap="skip", type="system")
@task(name="periodic_agent_health_check", queue="system", time_limit=120)
async def periodic_agent_health_check() -> dict[str, int | Sequence[str]]:
    """Mark the agents whose runs fail or are overdue; which those are."""
    lost = await runs.lose(round((TIME_LIMIT + 60) * 1000))
    found = await health.check(round(BACKOFFICE.settings.backoffice_agent_grace * 1000))
    named = {state: sorted(name for name, each in found.items() if each == state) for state in ("failing", "overdue")}
    return {"checked": len(found), "lost_runs": lost, **named}
