"""Commands for API keys."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.options import AsJson

app = typer.Typer(name="keys", help="API keys.", no_args_is_help=True)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is: shown in the audit trail.")],
    scope: Annotated[list[str], typer.Option(help="read, submit, control or admin; may be repeated.")],
    json_: AsJson = False,
) -> None:
    """Print a new entry of JOBGATE_API_KEYS. It is kept nowhere: store it as you store passwords."""
    # By name: most commands need nothing of the server, and start sooner without it.
    entry: str = importlib.import_module("gateway.api_keys").new_entry(name, scope)
    key = entry.split(":")[1]
    if json_:
        output.as_json({"entry": entry, "name": name, "key": key, "scopes": entry.rpartition(":")[2].split("+")})
        return
    output.say(entry)
    output.note("add it to JOBGATE_API_KEYS and restart the gateways")
    output.note(f"{name} sends the header Authorization: Bearer {key}; commands read the key from JOBGATE_API_KEY")
