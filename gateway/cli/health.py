"""Commands that look for what is wrong: before a start, and in what runs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import typer

from executors.finding import Finding, exit_status
from executors.settings import source_of
from gateway.cli import local_stack, output
from gateway.cli.door import address
from gateway.cli.exits import CommandError, Exit
from gateway.cli.options import AsJson, door

Required = Annotated[list[str] | None, typer.Argument(metavar="[TASK]...", help="Tasks that must be registered.")]


def check(required: Required = None, json_: AsJson = False) -> None:
    """Look before a start: task modules, key tasks, the broker. Exit code 1 when something is missing."""
    seen = look(required or [])
    if json_:
        output.as_json(seen)
    else:
        output.table(("what", "", "seen"), [(each["what"], _verdict(each), each["detail"]) for each in seen])
    if not all(each["ok"] for each in seen):
        raise typer.Exit(Exit.BAD)


def require(required: Sequence[str]) -> None:
    """Raise CommandError with what is missing."""
    missing = [f"{each['what']}: {each['detail']}" for each in look(required) if not each["ok"]]
    if missing:
        raise CommandError(Exit.BAD, "; ".join(missing))


def look(required: Sequence[str]) -> list[dict[str, Any]]:
    # By name, as in `record`: what it loads is not needed elsewhere.
    seen = importlib.import_module("executors.start_check").look(local_stack.settings(), required)
    found: list[dict[str, Any]] = msgspec.to_builtins(list(seen))
    return found


def doctor(context: typer.Context, json_: AsJson = False) -> None:
    """Say what is wrong between record, broker, workers and settings. Exit code 1 for a warning, 2 for an error.

    With --url or JOBGATE_URL it asks that gateway; otherwise it looks for itself, and no gateway has to run.
    """
    asked = context.find_root().params.get("url") or source_of("JOBGATE_URL") == "environment"
    seen = door(context).get(address("doctor")) if asked else _examine()
    if json_:
        output.as_json(seen)
    else:
        _show(seen)
    if status := exit_status(msgspec.convert(seen["findings"], list[Finding])):
        raise typer.Exit(status)


def _examine() -> Mapping[str, Any]:
    found = importlib.import_module("executors.doctor").examine(local_stack.settings())
    seen: Mapping[str, Any] = msgspec.to_builtins(found)
    return seen


def _show(seen: Mapping[str, Any]) -> None:
    for finding in seen["findings"]:
        output.say(f"{finding['severity']}: {finding['detail']} ({finding['code']})")
        for words in filter(None, (finding["done"], finding["remedy"])):
            output.say(f"  {words}")
    if not seen["findings"]:
        output.say(f"well; looked at {', '.join(seen['looked_at'])}")
    for what, why in seen["not_looked_at"].items():
        output.note(f"not looked at: {what}: {why}")


def _verdict(each: Mapping[str, Any]) -> str:
    return "ok" if each["ok"] else "missing"
