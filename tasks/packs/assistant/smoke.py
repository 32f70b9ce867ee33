"""A question to the model, as a user asks it, and the pack's upkeep."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tasks.smoke import Smoke

_TASKS = "/api/v1/tasks"
_CONVERSATIONS = "/api/v1/assistant/conversations"


def smoke(gateway: Smoke) -> Iterator[str]:
    name = f"smoke-{time.time_ns()}"
    wanted = {"conversation_id": name, "user_message": "Say hello.", "temperature": 0.2, "user_id": "smoke"}
    accepted = gateway.post(f"{_TASKS}/ai/generate", wanted)
    gateway.check(accepted["status"] == "PENDING", "the question is accepted as PENDING")
    result = gateway.wait(accepted["task_id"])
    gateway.check(result["conversation_id"] == name and result["response"], "the model answers")
    yield f"{result['model'] or 'the model'} answered with {result['tokens']['total']} tokens"
    found = gateway.get(f"{_CONVERSATIONS}/{name}")
    said = [(message["role"], message["content"]) for message in found["history"]]
    gateway.check(said == [("user", "Say hello."), ("assistant", result["response"])], "the conversation holds both")
    status = gateway.get(f"{_TASKS}/status/{accepted['task_id']}")
    gateway.check(status["status"] == "SUCCESS" and status["result"] == result, "the task's status has the same answer")
    yield f"the conversation {name} holds question and answer in order"
    cleaned = gateway.job("cleanup_expired_results")
    yield f"{cleaned['kept']} results are kept, {cleaned['expired']} have expired"
    health = gateway.job("check_task_health")
    gateway.check(health["workers"], "the health check sees workers")
    yield f"health: {'; '.join(health['problems']) or 'no problems'}"
