"""One run of an agent: its prompt, what its model asks of the tools, its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from tasks import Context
from tasks.clients import chat
from tasks.clients.chat import Answer, Endpoint
from tasks.errors import FatalError, Retry
from tasks.packs.backoffice import tools

#: Answers of the model in one run; one that has only asked for tools by then would go on for ever.
MAX_TURNS = 8
#: Calls of tools in one answer.
MAX_CALLS = 16


class Called(Struct, frozen=True):
    """A tool that was used; `arguments` and `result` are JSON texts."""

    name: str
    arguments: str
    result: str


class Conversation:
    """`calls` and the tokens are what it has come to so far, also where it ends in an error; tokens are None where the
    endpoint tells none."""

    def __init__(self, endpoint: Endpoint, instructions: str, prompt: str, allowed: Sequence[str]) -> None:
        self.calls: list[Called] = []
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self._endpoint = endpoint
        self._allowed = allowed
        self._messages: list[dict[str, Any]] = [{"role": "system", "content": instructions}] if instructions else []
        self._messages.append({"role": "user", "content": prompt})

    async def answer(self, context: Context) -> str:
        """What the model says in the end. Raises Retry and FatalError."""
        for turn in range(MAX_TURNS):
            context.progress(turn, MAX_TURNS, f"{len(self.calls)} calls of tools")
            said = await chat.complete(self._endpoint, self._messages, tools=tools.described(self._allowed))
            self._count(said)
            if not said.tool_calls:
                return _text(said)
            await self._use(said, context)
        raise FatalError(f"the model asked for tools {MAX_TURNS} times and gave no answer")

    async def _use(self, said: Answer, context: Context) -> None:
        if len(said.tool_calls) > MAX_CALLS:
            raise FatalError(f"the model asked for {len(said.tool_calls)} tools at once, {MAX_CALLS} are allowed")
        self._messages.append({"role": "assistant", "content": said.text or None, "tool_calls": _wire(said)})
        for call in said.tool_calls:
            context.check()
            result = await tools.use(call, self._allowed)
            context.log(f"{call.name}({call.arguments}): {result}")
            self.calls.append(Called(call.name, call.arguments, result))
            self._messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    def _count(self, said: Answer) -> None:
        if said.usage is not None:
            self.prompt_tokens = (self.prompt_tokens or 0) + said.usage.prompt
            self.completion_tokens = (self.completion_tokens or 0) + said.usage.completion


def _text(said: Answer) -> str:
    if not said.text.strip():
        raise Retry(f"the model said nothing (finish: {said.finish})")
    return said.text


def _wire(said: Answer) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in said.tool_calls
    ]
