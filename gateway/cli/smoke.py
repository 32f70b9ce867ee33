"""`jobgate smoke`: every pack shows on a running gateway that it works, end to end."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli import options, output
from gateway.cli.exits import CommandError, Exit
from tasks import registry
from tasks.errors import SmokeFailed
from tasks.pack import Pack
from tasks.packs import modules_of
from tasks.smoke import Smoke


def smoke(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="PACK...", help="Packs, or the letters A to E of systems.")],
) -> None:
    """Run packs end to end on the gateway, which must have them switched on. Exit code 1 when one does not work."""
    door = options.door(context)
    seen = Smoke(lambda method, path, body: door.send(method, path, body=body, wait=30))
    for pack in registry.load(modules_of(names)).packs:
        _run(pack, seen)


def _run(pack: Pack[Any], smoke: Smoke) -> None:
    if pack.smoke is None:
        raise CommandError(Exit.USAGE, f"the pack {pack.name} has no smoke test")
    try:
        for words in pack.smoke(smoke):
            output.say(f"{pack.name}: {words}")
    except SmokeFailed as error:
        raise CommandError(Exit.BAD, f"{pack.name}: {error.detail}") from error
    output.say(f"{pack.name}: works")
