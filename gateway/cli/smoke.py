"""`jobgate smoke`: every pack shows on a running gateway that it works, end to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.cli import options, output
from gateway.cli.door import Door, address
from gateway.cli.exits import CommandError, Exit, command_error
from tasks import registry
from tasks.errors import SmokeFailed
from tasks.pack import Pack
from tasks.packs import modules_of, names_of
from tasks.smoke import Smoke


def smoke(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="PACK...", help="Packs, or the letters A to E of systems.")],
) -> None:
    """Run packs end to end on the gateway, which must have them switched on.

    Exit code 1 when one does not work, 5 when one cannot run in that deployment. What a task lacks is said first.
    """
    door = options.door(context)
    seen = Smoke(lambda method, path, body: door.send(method, path, body=body, wait=30))
    lacks = {task["name"]: task["needs"] for task in door.get(address("tasks"))["tasks"]}
    for name in names_of(names):
        (module,) = modules_of([name])
        found = registry.load([module])
        _look(name, [task.name for task in found if task.function.__module__.startswith(module)], lacks, door)
        for pack in found.packs:
            _run(pack, seen)


def _look(pack: str, tasks: list[str], lacks: Mapping[str, str], door: Door) -> None:
    """Say what tasks of the pack lack there; CommandError if the gateway does not have the pack."""
    if not lacks.keys() >= set(tasks):
        raise _impossible(pack, f"the gateway at {door.url} has it switched off: start it with JOBGATE_PACKS={pack}")
    for task in tasks:
        if lacks[task]:
            output.note(f"{pack}: {task} cannot run there: {lacks[task]}")


def _run(pack: Pack[Any], smoke: Smoke) -> None:
    if pack.smoke is None:
        raise CommandError(Exit.USAGE, f"the pack {pack.name} has no smoke test")
    try:
        for words in pack.smoke(smoke):
            output.say(f"{pack.name}: {words}")
    except SmokeFailed as error:
        raise CommandError(Exit.BAD, f"{pack.name}: {error.detail}") from error
    except Exception as error:
        known = command_error(error)
        if known is None or known.exit != Exit.REFUSED:
            raise
        raise _impossible(pack.name, known.words) from error
    output.say(f"{pack.name}: works")


def _impossible(pack: str, words: str) -> CommandError:
    return CommandError(Exit.REFUSED, f"{pack}: cannot run in this deployment: {words}")
