"""A gateway with the assistant, whose model is one of the answer engines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from executors import assembly, packs
from executors.control import Control
from executors.settings import Settings
from gateway.app import create_app
from tests.gateway.conftest import client_of
from tests.support.answers import AnswerEngines

TASKS = "/api/v1/tasks"
JOBS = "/api/v1/jobs"
CONVERSATIONS = "/api/v1/assistant/conversations"


def model_of(answers: AnswerEngines) -> dict[str, str]:
    """The variables of a model with prices."""
    return {
        "ASSISTANT_CHAT_URL": f"{answers.url('openai')}/v1",
        "ASSISTANT_CHAT_KEY": answers.key,
        "ASSISTANT_CHAT_MODEL": "small",
        "ASSISTANT_PRICE_INPUT": "2",
        "ASSISTANT_PRICE_OUTPUT": "8",
    }


class Assistant:
    """The pack over HTTP; `control` is its gateway's."""

    def __init__(self, client: httpx2.AsyncClient, control: Control) -> None:
        self.client, self.control = client, control

    async def ask(self, conversation: str, message: str, **more: Any) -> str:
        """Submit a message as the platform did; the task's id."""
        body = {"conversation_id": conversation, "user_message": message, **more}
        answer = await self.client.post(f"{TASKS}/ai/generate", json=body)
        assert answer.status_code == 202, answer.text
        receipt: dict[str, str] = answer.json()
        assert (set(receipt), receipt["status"]) == ({"task_id", "status", "message"}, "PENDING")
        return receipt["task_id"]

    async def submit(self, task: str, *args: Any, **options: Any) -> str:
        answer = await self.client.post(JOBS, json={"task": task, "args": args, **options})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def ended(self, job: str, status: str = "SUCCESS") -> dict[str, Any]:
        """The job at its end, which must be this one."""
        found: dict[str, Any] = (await self.client.get(f"{JOBS}/{job}?wait=30")).json()
        assert found["status"] == status, found
        return found

    async def answered(self, conversation: str, message: str, **more: Any) -> dict[str, Any]:
        """The result of a message."""
        result: dict[str, Any] = (await self.ended(await self.ask(conversation, message, **more)))["result"]
        return result

    async def history(self, conversation: str) -> list[dict[str, Any]]:
        answer = await self.client.get(f"{CONVERSATIONS}/{conversation}")
        assert answer.status_code == 200, answer.text
        messages: list[dict[str, Any]] = answer.json()["history"]
        return messages

    async def said(self, conversation: str) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in await self.history(conversation)]

    async def events(self, job: str) -> list[tuple[str, dict[str, Any]]]:
        """The live events of an ended job: (event, data)."""
        text = (await self.client.get(f"{JOBS}/{job}/events")).text
        blocks = (dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block)
        return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


@asynccontextmanager
async def assistant(database_url: str, environment: dict[str, str]) -> AsyncIterator[Assistant]:
    settings = Settings(
        database_url=database_url, task_modules=("tasks.packs.assistant",), threads=4, environment=environment
    )
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        made = Assistant(client, control)
        # The rate of ten a minute is the limits' own to show.
        lifted = await client.put(f"{TASKS}/generate_ai_response/limits", json={})
        assert lifted.status_code == 200, lifted.text
        yield made
    await packs.close(found)
