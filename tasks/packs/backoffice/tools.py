"""What an agent's model may ask for: reading only, and nothing outside this deployment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tasks.clients.chat import ToolCall
from tasks.clock_change import zone
from tasks.handle import client
from tasks.packs.backoffice import sessions
from tasks.packs.backoffice.arithmetic import MAX_LENGTH, calculate

Name = Literal["current_time", "calculate", "queue_depth", "session_statistics"]


class Tool(Struct, frozen=True):
    """`takes` are its arguments."""

    description: str
    takes: type[Struct]
    call: Callable[[Any], Awaitable[Any]]


class Zone(Struct, forbid_unknown_fields=True):
    timezone: Annotated[str, Meta(description="IANA name, such as Europe/Berlin")] = "UTC"


class Expression(Struct, forbid_unknown_fields=True):
    expression: Annotated[str, Meta(max_length=MAX_LENGTH, description="Numbers, brackets and + - * / // % **")]


class Queue(Struct, forbid_unknown_fields=True):
    queue: Annotated[str | None, Meta(description="One queue; all without it")] = None


class Nothing(Struct, forbid_unknown_fields=True):
    pass


async def _current_time(given: Zone) -> dict[str, str]:
    moment = datetime.now(UTC).astimezone(zone(given.timezone))
    return {"time": moment.isoformat(timespec="seconds"), "weekday": moment.strftime("%A")}


async def _calculate(given: Expression) -> dict[str, int | float]:
    return {"value": calculate(given.expression)}


async def _queue_depth(given: Queue) -> dict[str, Any]:
    record = await client().inventory_async()
    waiting = Counter[str]()
    for each in record.waiting:
        waiting[each.queue] += each.jobs
    shown = dict(waiting) if given.queue is None else {given.queue: waiting[given.queue]}
    return {"waiting": shown, "running": sum(each.jobs for each in record.running)}


async def _session_statistics(given: Nothing) -> sessions.Figures:
    return await sessions.figures()


TOOLS: Mapping[str, Tool] = {
    "current_time": Tool("The date and time now, in a time zone.", Zone, _current_time),
    "calculate": Tool("The value of an arithmetic expression.", Expression, _calculate),
    "queue_depth": Tool("How many jobs wait, by queue, and how many run.", Queue, _queue_depth),
    "session_statistics": Tool("How many user sessions are open, closed and expired.", Nothing, _session_statistics),
}


def described(names: Iterable[str]) -> list[dict[str, Any]] | None:
    """Those as the protocol describes functions; None for none."""
    return [_described(name, TOOLS[name]) for name in names] or None


async def use(call: ToolCall, allowed: Iterable[str]) -> str:
    """What the tool says, as JSON. What is wrong with the call is said too: the model may do better."""
    if call.name not in allowed:
        return _encoded({"error": f"there is no tool {call.name[:100]!r}; there are {', '.join(allowed) or 'none'}"})
    tool = TOOLS[call.name]
    try:
        return _encoded(await tool.call(msgspec.json.decode(call.arguments or "{}", type=tool.takes)))
    except ValueError as error:
        return _encoded({"error": str(error)})


def _described(name: str, tool: Tool) -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([tool.takes])
    schema = {"type": "object", "properties": {}, **parts[tool.takes.__name__]}
    return {"type": "function", "function": {"name": name, "description": tool.description, "parameters": schema}}


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
